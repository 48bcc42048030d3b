"""Watched processes: what they are at, their stacks, and how they end when they hang."""
