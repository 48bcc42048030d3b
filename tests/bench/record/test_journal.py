"""The journals of a plan: rows that are not the plan's, episodes told twice, scenes that differ."""

from pathlib import Path

import pytest

from bench.plan.document import Plan
from bench.plan.make import resolve_plan
from bench.plan.overrides import Overrides
from bench.record.journal import check_against_plan, journal_path, read_journals
from wmvla.errors import UserError
from wmvla.rollout.journal import Journal, Row, shard_journal_path
from wmvla.rollout.shard import Shard

PLAN = resolve_plan("core", "smoke", "cpu")
CASE = PLAN.case("E0-none-s0")


def row_of(index: int, /, case: str = CASE.id, plan: Plan = PLAN, **changes: object) -> Row:
    episode = plan.episodes[index]
    row = {
        "index": index,
        "case": case,
        "suite": episode.suite,
        "task": episode.task,
        "init": episode.init,
        "env_seed": episode.env_seed,
        "noise_seed": episode.noise_seed,
        "repeat": episode.repeat,
        "success": True,
        "steps": 12,
        "status": "ok",
        "error": None,
        "seconds": 1.5,
        "cpu_seconds": 1.25,
        "scene_hash": f"scene{episode.init}" * 4,
        "queries": 2,
        "renders": 4,
        "reset": "cheap",
        "policy_batch": 1,
    }
    return {**row, **changes}


def test_rows_of_the_plan_pass() -> None:
    check_against_plan(PLAN, CASE, [row_of(1), row_of(0)])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [row_of(0), row_of(0)],
            "E0-none-s0, episode 0 (task 7, init 1, repeat 0): recorded twice",
        ),
        ([row_of(0, index=9)], "not in the plan, whose table has 2 episodes"),
        ([row_of(0, index=-1)], "not in the plan"),
        ([row_of(0, noise_seed=3)], "its noise_seed is 3, the plan says"),
        ([row_of(0, index=1)], "its init is 1, the plan says 2"),
        ([row_of(0, case="E1-zero-s0")], "recorded by case 'E1-zero-s0'"),
    ],
)
def test_rows_that_are_not_the_plans_are_refused(rows: list[Row], message: str) -> None:
    with pytest.raises(UserError) as refused:
        check_against_plan(PLAN, CASE, rows)
    assert message in str(refused.value)


def test_repeats_of_one_init_must_share_their_scene() -> None:
    plan = resolve_plan("core", "smoke", "cpu", Overrides(episodes=4))
    with pytest.raises(
        UserError, match=r"episode 2 .*its scene is other, but scene1scene1 in E0-none-s0"
    ):
        check_against_plan(
            plan, CASE, [row_of(0, plan=plan), row_of(2, plan=plan, scene_hash="other")]
        )


def test_cases_must_share_their_scenes(tmp_path: Path) -> None:
    Journal(journal_path(tmp_path, "E0-none-s0")).append(row_of(1))
    Journal(journal_path(tmp_path, "E1-zero-s0")).append(row_of(1, "E1-zero-s0"))
    Journal(journal_path(tmp_path, "E2-pred-s0")).append(
        row_of(1, "E2-pred-s0", scene_hash=None, status="error")
    )
    assert {case: len(rows) for case, rows in read_journals(PLAN, tmp_path).items()} == {
        "E0-none-s0": 1,
        "E1-zero-s0": 1,
        "E2-pred-s0": 1,
        "E2-zero-s0": 0,
        "E2-random-s0": 0,
    }
    Journal(journal_path(tmp_path, "E2-zero-s0")).append(
        row_of(1, "E2-zero-s0", scene_hash="another")
    )
    with pytest.raises(
        UserError, match=r"E2-zero-s0, episode 1 .*its scene is another, but scene2scene2"
    ):
        read_journals(PLAN, tmp_path)


def test_shards_are_read_with_the_rest(tmp_path: Path) -> None:
    path = journal_path(tmp_path, CASE.id)
    Journal(shard_journal_path(path, Shard(2, 2))).append(row_of(0))
    Journal(path).append(row_of(1))
    assert read_journals(PLAN, tmp_path)[CASE.id] == [row_of(0), row_of(1)]
    Journal(shard_journal_path(path, Shard(1, 2))).append(row_of(0))
    with pytest.raises(
        UserError,
        match=(
            r"shard-2-of-2\.jsonl line 1: episode 0 is recorded already in .*shard-1-of-2\.jsonl"
            r" line 1"
        ),
    ):
        read_journals(PLAN, tmp_path)
