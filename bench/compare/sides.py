"""What can be compared: a run directory, or an external result (``bench.record.external``)."""

import functools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.judge.missing import missing_episodes
from bench.record.external import External, Table, TaskCount, load_external
from bench.record.run import Run
from wmvla.errors import UserError
from wmvla.rollout.tally import Tally, tally

Place = tuple[str, int]
"""Suite and task."""


@dataclass(frozen=True)
class Side:
    name: str
    path: Path
    run: Run | None
    external: External | None = None

    @functools.cached_property
    def missing(self) -> dict[str, list[int]]:
        """By rollout case of a run the episodes that it still has to play."""
        return missing_episodes(self.run.plan, self.run.rows) if self.run else {}


def load_sides(paths: Sequence[Path]) -> list[Side]:
    """Read what is to be compared, a run first. UserError if a path is neither or given twice."""
    if len(paths) < 2:
        raise UserError("give two or more runs: the others are compared with the first")
    places = [path.resolve() for path in paths]
    for path in paths:
        if places.count(path.resolve()) > 1:
            raise UserError(f"{path}: this run is given twice; give each run once")
    names = [path.resolve().stem if path.is_file() else path.resolve().name for path in paths]
    sides = []
    for path, name in zip(paths, names, strict=True):
        shown = name if names.count(name) == 1 else str(path)
        if path.is_file():
            sides.append(Side(shown, path, None, load_external(path)))
        else:
            sides.append(Side(shown, path, Run(path)))
    if sides[0].run is None:
        raise UserError(
            f"{paths[0]}: the first must be a run directory; the others are compared with it"
        )
    return sides


def rollouts_of(run: Run) -> list[str]:
    return list(dict.fromkeys(case.rollout for case in run.plan.rollout_cases()))


def tallies(run: Run, rollout: str) -> dict[Place, Tally]:
    """What a rollout solved in each task that has episodes, over all training seeds."""
    rows = [row for case in run.plan.rollout_cases(rollout) for row in run.rows[case.id]]
    by_place = defaultdict(list)
    for row in rows:
        by_place[row["suite"], row["task"]].append(row)
    return {place: tally(found) for place, found in sorted(by_place.items())}


def table_tallies(table: Table) -> dict[Place, Tally]:
    """The same of a table by task. What could not be played counts nowhere: its task is unknown."""
    return {(table.suite, count.task): counted(count) for count in table.by_task}


def counted(found: Table | TaskCount) -> Tally:
    return Tally(found.successes, found.episodes - found.successes)
