"""The journals of a plan's rollouts: where they are, and whether they are the plan's."""

from collections.abc import Sequence
from operator import attrgetter, itemgetter
from pathlib import Path

from bench.plan.cases import Case
from bench.plan.document import Plan
from wmvla.errors import UserError
from wmvla.recipe import EpisodeRow
from wmvla.rollout.journal import Row, read_all

KEYS = ("suite", "task", "init", "env_seed", "noise_seed", "repeat")
"""What makes an episode, and so must be the plan's."""
_row_keys, _planned_keys = itemgetter(*KEYS), attrgetter(*KEYS)

Scenes = dict[tuple[str, int, int], tuple[str, str]]
"""By (suite, task, init) the hash of the settled scene, and the case that began in it first."""


def journal_path(run_dir: Path, case_id: str) -> Path:
    """The journal of a rollout case; those of its shards lie beside it."""
    return Path(run_dir) / "episodes" / f"{case_id}.jsonl"


def check_against_plan(plan: Plan, case: Case, rows: Sequence[Row]) -> None:
    """Every row is one of the plan's, recorded once, in one scene per (suite, task, init).

    Raises UserError naming the episode.
    """
    _check_rows(plan, case, rows)
    check_scenes({case.id: rows})


def _check_rows(plan: Plan, case: Case, rows: Sequence[Row]) -> None:
    """As `check_against_plan`, whatever the scenes are."""
    seen: set[int] = set()
    for row in rows:
        index = row["index"]
        if row["case"] != case.id:
            raise UserError(
                f"{episode_name(case.id, row)}: recorded by case '{row['case']}'; this journal"
                f" belongs to '{case.id}'"
            )
        if not 0 <= index < len(plan.episodes):
            raise UserError(
                f"{episode_name(case.id, row)}: not in the plan, whose table has"
                f" {len(plan.episodes)} episodes"
            )
        planned = plan.episodes[index]
        if (key := differing_key(row, planned)) is not None:
            raise UserError(
                f"{episode_name(case.id, row)}: its {key} is {row[key]!r}, the plan says "
                f"{getattr(planned, key)!r}; the journal belongs to another plan"
            )
        if index in seen:
            raise UserError(f"{episode_name(case.id, row)}: recorded twice")
        seen.add(index)


def differing_key(row: Row, planned: EpisodeRow) -> str | None:
    """Which key of a row is not what its episode of the plan has; None: none."""
    if _row_keys(row) == _planned_keys(planned):
        return None
    return next(key for key in KEYS if row[key] != getattr(planned, key))


def check_scene(known: Scenes, case_id: str, row: Row) -> None:
    """The episode began in the scene that is `known` of its (suite, task, init); a new one is added
    to it.

    Raises UserError naming the episode that did not: arms that saw different scenes are not paired.
    A row without a scene hash (an error before the reset ended) says nothing.
    """
    if row["scene_hash"] is None:
        return
    scene, by = known.setdefault(
        (row["suite"], row["task"], row["init"]), (row["scene_hash"], case_id)
    )
    if row["scene_hash"] != scene:
        raise UserError(
            f"{episode_name(case_id, row)}: its scene is {row['scene_hash'][:12]}, "
            f"but {scene[:12]} in {by}; remove the journals made on another machine or version"
        )


def check_scenes(rows_by_case: dict[str, Sequence[Row]]) -> Scenes:
    """All episodes from one (suite, task, init) began in one scene, in every case: the scenes.
    UserError as `check_scene`."""
    known: Scenes = {}
    for case_id, rows in rows_by_case.items():
        for row in rows:
            check_scene(known, case_id, row)
    return known


def read_journals(plan: Plan, run_dir: Path) -> dict[str, list[Row]]:
    """Rows of every rollout case of the plan, checked against it and against each other, in table
    order."""
    rows_by_case: dict[str, list[Row]] = {}
    for case in plan.rollout_cases():
        rows = read_all(journal_path(run_dir, case.id))
        _check_rows(plan, case, rows)
        rows_by_case[case.id] = sorted(rows, key=lambda row: row["index"])
    check_scenes(dict(rows_by_case))
    return rows_by_case


def episode_name(case_id: str, row: Row) -> str:
    return (
        f"{case_id}, episode {row['index']} (task {row['task']}, init {row['init']}, repeat"
        f" {row['repeat']})"
    )
