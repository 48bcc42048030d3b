"""Which episodes count as solved, and how many: the one place that says so."""

from collections.abc import Iterable
from dataclasses import dataclass

from wmvla.rollout.journal import Row


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


def tally(rows: Iterable[Row]) -> Tally:
    """How those episodes ended."""
    successes = failures = errors = timeouts = 0
    for row in rows:
        status = row["status"]
        if status == "error":
            errors += 1
        elif status == "timeout":
            timeouts += 1
        elif row["success"]:
            successes += 1
        else:
            failures += 1
    return Tally(successes, failures, errors, timeouts)
