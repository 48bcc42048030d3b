"""A training's signs of life, by which a slow one is known from one that hangs."""

import time
from pathlib import Path

from wmvla.watch.life import Sign, write_sign

EVERY = 1.0
"""Seconds between the signs of two steps: on a network file system each costs milliseconds."""
SAVING = 300.0
"""Seconds that a checkpoint may take to be written."""
SLOWER = 3
"""How many times as long as the longest step so far a step may take."""


class Life:
    """Signs in ``path``, of rank 0 alone; with None nowhere."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.signed = self.stepped = -float("inf")
        self.longest = 0.0
        self.steps = 0

    def at(self, what: str, patience: float = 0.0) -> None:
        """Say what comes now."""
        self.signed = self.stepped = time.monotonic()
        if self.path is not None:
            write_sign(self.path, Sign(what, patience))

    def step(self, number: int) -> None:
        """Say that a step is done. The first may compile: it does not show how long others take."""
        now = time.monotonic()
        self.longest = max(self.longest, now - self.stepped if self.steps else 0.0)
        self.steps, self.stepped = self.steps + 1, now
        if now - self.signed >= EVERY:
            self.at(f"step {number}", SLOWER * self.longest)
