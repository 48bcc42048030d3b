"""Processes that are watched: what they are at, their stacks, and how they end when they hang or
their parent is gone."""
