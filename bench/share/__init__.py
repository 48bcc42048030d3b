"""Runs that travel: packed into one file, or fetched from another machine."""
