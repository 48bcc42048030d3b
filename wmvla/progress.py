"""One line per stage: how far, how long still."""

import sys
import time
from collections.abc import Callable

EVERY = 5.0
"""Seconds between two lines."""


class Progress:
    """Counts ``done`` of ``total`` and shows at most one line per ``EVERY`` seconds, and the last,
    by ``show`` (default: standard error). What an earlier run had ``done`` adds no speed."""

    def __init__(
        self, label: str, total: int, done: int = 0, show: Callable[[str], None] | None = None
    ) -> None:
        self.label, self.total, self.already = label, total, done
        self.show = show or (lambda line: print(line, file=sys.stderr, flush=True))
        self.started, self.shown, self.first = time.monotonic(), -EVERY, done
        self.complete = False
        if done < total:
            self.show(f"  {label:<15} {done:>5}/{total:<5} {'continuing' if done else 'starting'}")

    def update(self, done: int, note: str = "") -> None:
        """Say that ``done`` units are finished."""
        now = time.monotonic()
        if self.complete or (now - self.shown < EVERY and done < self.total) or done == self.first:
            return
        self.shown, self.first, self.complete = now, done, done >= self.total
        spent, fresh = now - self.started, done - self.already
        rest = spent / fresh * (self.total - done) if fresh > 0 else 0.0
        times = f"took {_clock(spent)}" if self.complete else f"{_clock(rest)} left"
        self.show(f"  {self.label:<15} {done:>5}/{self.total:<5} {times:<11} {note}".rstrip())


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02d}"
