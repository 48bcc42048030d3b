"""One line per stage on standard error: how far, how fast, how long still."""

import sys
import time


class Progress:
    """Counts ``done`` of ``total`` and prints at most one line per ``every`` seconds (and the last one).

    Non-obvious: on a terminal the line overwrites itself; in a log each line stands alone.
    """

    def __init__(self, label: str, total: int, done: int = 0, every: float = 2.0) -> None:
        self.label, self.total, self.every = label, total, every
        self.started, self.already = time.monotonic(), done
        self.shown = -1e9
        self.terminal = sys.stderr.isatty()
        if not self.terminal:
            self.every = max(every, 15.0)

    def update(self, done: int, note: str = "") -> None:
        """Say that ``done`` units are finished."""
        now = time.monotonic()
        if now - self.shown < self.every and done < self.total:
            return
        self.shown = now
        spent = now - self.started
        fresh = done - self.already
        left = f"{_clock(spent / fresh * (self.total - done))} left" if fresh > 0 else "time left unknown"
        if done >= self.total:
            left = f"took {_clock(spent)}"
        line = f"  {self.label:<16} {done}/{self.total}  {left}{'  ' + note if note else ''}"
        end = "\n" if not self.terminal or done >= self.total else ""
        print(f"\r\x1b[2K{line}" if self.terminal else line, end=end, file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02d}"
