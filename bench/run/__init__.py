"""Carrying out a plan: its cases, each once, on this machine or as jobs of a cluster."""
