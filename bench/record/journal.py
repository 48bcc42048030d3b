"""The journals of a plan's rollouts: where they are, and whether they are the plan's."""

from collections.abc import Mapping, Sequence
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import NoReturn

import numpy as np

from bench.plan.cases import Case
from bench.plan.document import Plan
from wmvla.errors import UserError
from wmvla.json_columns import Columns
from wmvla.recipe import EpisodeRow
from wmvla.rollout.journal import Row, read_all, values

KEYS = ("suite", "task", "init", "env_seed", "noise_seed", "repeat")
"""What makes an episode, and so must be the plan's."""
_row_keys, _planned_keys = itemgetter(*KEYS), attrgetter(*KEYS)

Scenes = dict[tuple[str, int, int], tuple[str, str]]
"""By (suite, task, init) the hash of the settled scene, and the case that began in it first."""


def journal_path(run_dir: Path, case_id: str) -> Path:
    """The journal of a rollout case; those of its shards lie beside it."""
    return Path(run_dir) / "episodes" / f"{case_id}.jsonl"


def check_against_plan(plan: Plan, case: Case, rows: Sequence[Row]) -> None:
    """Every row is one of the plan's, recorded once, in one scene per (suite, task, init). Raises
    UserError naming the episode."""
    _check_rows(plan, case, rows)
    check_scenes({case.id: rows})


def _check_rows(plan: Plan, case: Case, rows: Sequence[Row]) -> None:
    """As `check_against_plan`, whatever the scenes are."""
    index = values(rows, "index")
    outside = (index < 0) | (index >= len(plan.episodes))
    planned = np.where(outside, 0, index)
    wrong = outside | (values(rows, "case") != case.id)
    for key in KEYS:
        wrong |= values(rows, key) != plan.table[key][planned]
    again = np.ones(len(index), dtype=np.bool_)
    again[np.unique(index, return_index=True)[1]] = False
    for place in np.flatnonzero(wrong | again)[:1].tolist():
        _refuse(plan, case, rows[place])


def _refuse(plan: Plan, case: Case, row: Row) -> NoReturn:
    """Say what is wrong with a row; if nothing is, that it stands there a second time."""
    if row["case"] != case.id:
        raise UserError(
            f"{episode_name(case.id, row)}: recorded by case '{row['case']}'; this journal"
            f" belongs to '{case.id}'"
        )
    if not 0 <= row["index"] < len(plan.episodes):
        raise UserError(
            f"{episode_name(case.id, row)}: not in the plan, whose table has"
            f" {len(plan.episodes)} episodes"
        )
    planned = plan.episodes[row["index"]]
    if (key := differing_key(row, planned)) is not None:
        raise UserError(
            f"{episode_name(case.id, row)}: its {key} is {row[key]!r}, the plan says"
            f" {getattr(planned, key)!r}; the journal belongs to another plan"
        )
    raise UserError(f"{episode_name(case.id, row)}: recorded twice")


def differing_key(row: Row, planned: EpisodeRow) -> str | None:
    """Which key of a row is not what its episode of the plan has; None: none."""
    if _row_keys(row) == _planned_keys(planned):
        return None
    return next(key for key in KEYS if row[key] != getattr(planned, key))


def check_scene(known: Scenes, case_id: str, row: Row) -> None:
    """The episode began in the scene that is `known` of its place; a new one is added. Raises
    UserError naming the episode that did not: arms that saw different scenes are not paired. A row
    without a scene hash (an error before the reset ended) says nothing."""
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


def check_scenes(rows_by_case: Mapping[str, Sequence[Row]]) -> Scenes:
    """The scenes: one for each (suite, task, init), in every case. UserError as `check_scene`."""
    known: Scenes = {}
    for case_id, rows in rows_by_case.items():
        task, init = values(rows, "task"), values(rows, "init")
        _, first, place_of = np.unique(
            task * (init.max(initial=0) + 1) + init, return_index=True, return_inverse=True
        )
        differs = np.zeros(len(rows), dtype=np.bool_)
        for key in ("suite", "scene_hash"):
            column = values(rows, key)
            differs |= column != column[first][place_of]
        for place in (*first.tolist(), *np.flatnonzero(differs).tolist()):
            check_scene(known, case_id, rows[place])
    return known


def read_journals(plan: Plan, run_dir: Path) -> dict[str, Columns[Row]]:
    """Rows of every rollout case, in table order, checked against the plan and each other."""
    rows_by_case = {}
    for case in plan.rollout_cases():
        rows = read_all(journal_path(run_dir, case.id))
        _check_rows(plan, case, rows)
        index = values(rows, "index")
        in_order = bool((index[1:] > index[:-1]).all())
        rows_by_case[case.id] = rows if in_order else rows.take(np.argsort(index))
    check_scenes(rows_by_case)
    return rows_by_case


def episode_name(case_id: str, row: Row) -> str:
    return (
        f"{case_id}, episode {row['index']} (task {row['task']}, init {row['init']}, repeat"
        f" {row['repeat']})"
    )
