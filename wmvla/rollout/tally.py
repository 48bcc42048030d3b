"""Which episodes count as solved, and how many: the one place that says so."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wmvla.rollout.journal import Row, values

SUCCESS, FAILURE, ERROR, TIMEOUT = range(4)
"""How an episode can end: the places of a `Tally`."""


@dataclass(frozen=True)
class Tally:
    """Finished episodes by how they ended."""

    successes: int = 0
    failures: int = 0
    errors: int = 0
    timeouts: int = 0

    @property
    def broken(self) -> int:
        """Episodes that ended in an error or a timeout, whose success is not known."""
        return self.errors + self.timeouts

    @property
    def episodes(self) -> int:
        return self.successes + self.failures + self.broken

    @property
    def rate(self) -> float | None:
        """The success rate, where a broken episode counts as a failure; None without episodes."""
        return self.successes / self.episodes if self.episodes else None

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.successes + other.successes,
            self.failures + other.failures,
            self.errors + other.errors,
            self.timeouts + other.timeouts,
        )


def succeeded(row: Row) -> bool:
    """Whether an episode counts as solved; one that ended in an error or a timeout does not,
    whatever else its row says."""
    return row["status"] == "ok" and bool(row["success"])


def broken(row: Row) -> bool:
    """Whether an episode ended in an error or a timeout."""
    return bool(row["status"] != "ok")


def ends(rows: Sequence[Row]) -> NDArray[np.int64]:
    """How each episode ended, as the place of its kind in `Tally`; shape (rows,)."""
    ended, status = np.where(values(rows, "success"), SUCCESS, FAILURE), values(rows, "status")
    places = np.flatnonzero(status != "ok")
    ended[places] = np.where(status[places] == "error", ERROR, TIMEOUT)
    return ended


def tally(rows: Sequence[Row]) -> Tally:
    """How those episodes ended."""
    return Tally(*np.bincount(ends(rows), minlength=4).tolist())


def tally_by_task(rows: Sequence[Row]) -> dict[int, Tally]:
    """The same of each task."""
    tasks, task_of = np.unique(values(rows, "task"), return_inverse=True)
    counts = np.bincount(4 * task_of + ends(rows), minlength=4 * len(tasks)).reshape(-1, 4)
    return {task: Tally(*each) for task, each in zip(tasks.tolist(), counts.tolist(), strict=True)}
