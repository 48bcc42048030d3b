"""The rows of an episode table that wait to be played, and what becomes of those that cannot be."""

from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence

from wmvla.errors import UserError
from wmvla.recipe import EpisodeRow
from wmvla.rollout.episode import EpisodeRecord, failed

TRIES = 3
"""How often an episode is started before it is recorded as failed."""


class Todo:
    """Rows that ``workers`` simulators play, in the order of the table unless a reason is given.

    Non-obvious: an episode that fails before any simulation was made may fail through no fault of
    its own (no OpenGL, for instance). It is recorded only once another one's was made. If none ever
    is, the run ends, and the rows stay unplayed.
    """

    def __init__(
        self,
        rows: Sequence[EpisodeRow],
        workers: int,
        on_episode: Callable[[EpisodeRow, EpisodeRecord], None],
    ) -> None:
        self._rows = deque(rows)
        self._workers = workers
        self._on_episode = on_episode
        self._made = False
        self._tries: Counter[int] = Counter()
        self._failures: Counter[int] = Counter()
        self._unplayable: list[tuple[EpisodeRow, EpisodeRecord]] = []
        self._first_reason: str | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def take(
        self, task: int | None, others: Collection[int], of: Collection[int] | None = None
    ) -> EpisodeRow | None:
        """The next row for a simulator that has ``task`` made: one of its task if there is any.
        None: there is none of the tasks ``of``.

        A simulation takes seconds to make, so a simulator that needs a new one takes the task with
        the most rows for each simulator that plays it, among those that failed least.
        """
        wanted = self._rows if of is None else [row for row in self._rows if row.task in of]
        left, playing = Counter(row.task for row in wanted), Counter(others)
        if not left:
            return None

        def badness(other: int) -> tuple[int, float]:
            return self._failures[other], -left[other] / (1 + playing[other])

        chosen = task if task is not None and left[task] else min(left, key=badness)
        row = next(row for row in wanted if row.task == chosen)
        self._rows.remove(row)
        return row

    def simulation_was_made(self) -> None:
        """Note that simulators work here, so that rows which failed are at fault themselves."""
        self._made = True
        while self._unplayable:
            self._on_episode(*self._unplayable.pop(0))

    def failed(self, row: EpisodeRow, status: str, reason: str) -> None:
        """Put a row back, or record it when it has had its tries. UserError: no simulation was ever
        made, in ``TRIES`` tries of every simulator."""
        if self._first_reason is None:
            self._first_reason = f"{row.suite} task {row.task}: {reason.rstrip('.')}"
        self._failures[row.task] += 1
        self._tries[row.index] += 1
        if self._tries[row.index] < TRIES:
            self._rows.append(row)
        else:
            self._unplayable.append((row, failed(status, reason)))
        if self._made:
            self.simulation_was_made()
        elif self._failures.total() >= TRIES * self._workers:
            raise self._nothing_plays()

    def finish(self) -> None:
        """Call it when no row waits and none is being played. UserError: rows failed, and no
        simulation was ever made."""
        if self._unplayable:
            raise self._nothing_plays()

    def _nothing_plays(self) -> UserError:
        return UserError(f"No simulator can play {self._first_reason}. Try 'wmbench doctor'.")
