"""The rows of an episode table that wait to be played, and what becomes of those that cannot be."""

from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence

from wmvla.errors import UserError
from wmvla.recipe import EpisodeRow
from wmvla.rollout.episode import EpisodeRecord, failed

TRIES = 3
"""How often an episode is started before it is recorded as failed."""


class Todo:
    """Rows in the order of the table, a failed one again behind the others.

    ``made`` and ``asked`` are set by whoever plays, once any simulation was made and once any sent its first query.

    Non-obvious: an episode that failed ``TRIES`` times before any simulator of this run came as far as its first query may have
    failed through no fault of its own (no OpenGL, for instance). It is recorded only when a later one does better, or when it
    was one of the last and its simulation could at least be made. Otherwise the run ends, and it is played another time.
    """

    def __init__(self, rows: Sequence[EpisodeRow], on_episode: Callable[[EpisodeRow, EpisodeRecord], None]) -> None:
        self.made = self.asked = False
        self._rows = deque(rows)
        self._on_episode = on_episode
        self._tries: Counter[int] = Counter()
        self._unplayable: list[tuple[EpisodeRow, EpisodeRecord]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def take(self, task: int | None, others: Collection[int]) -> EpisodeRow:
        """The next row for a simulator that has ``task`` made, while others have theirs: one of its task if there is any.

        A simulation takes seconds to make, so a simulator that needs a new one takes the task with the most rows for each
        simulator that plays it.
        """
        left, playing = Counter(row.task for row in self._rows), Counter(others)
        wanted = max(left, key=lambda other: left[other] / (1 + playing[other]))
        if task is not None and left[task]:
            wanted = task
        row = next(row for row in self._rows if row.task == wanted)
        self._rows.remove(row)
        return row

    def failed(self, row: EpisodeRow, status: str, reason: str) -> None:
        """Put a row back, or record it when it has had its tries.

        Raises:
            UserError: no simulator of this run has come as far as a query, and ``TRIES`` rows have had their tries.
        """
        self._tries[row.index] += 1
        if self._tries[row.index] < TRIES:
            self._rows.append(row)
            return
        self._unplayable.append((row, failed(status, reason)))
        if self.asked:
            self.record_unplayable()
        elif len(self._unplayable) >= TRIES:
            raise self._nothing_plays()

    def record_unplayable(self) -> None:
        """Record the rows that failed, once it is known that the simulators work."""
        while self._unplayable:
            self._on_episode(*self._unplayable.pop(0))

    def finish(self) -> None:
        """Call it when no row waits and none is being played.

        Raises:
            UserError: rows failed, and not one simulation could be made.
        """
        if self._unplayable and not self.made:
            raise self._nothing_plays()
        self.record_unplayable()

    def _nothing_plays(self) -> UserError:
        row, record = self._unplayable[0]
        return UserError(
            f"No simulator can play {row.suite} task {row.task}: {str(record.error).rstrip('.')}. Try 'wmbench doctor'."
        )
