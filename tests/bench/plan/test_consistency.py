"""A plan that contradicts itself is refused, though its hash was made again."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from synthetic_run import core_plan

from bench.plan.document import Plan
from bench.plan.files import load_plan
from wmvla.errors import UserError

PLAN = core_plan("mini")


def with_recipe(part: str, **changed: Any) -> Plan:
    recipe = PLAN.recipe
    return dataclasses.replace(
        PLAN,
        recipe=dataclasses.replace(
            recipe, **{part: dataclasses.replace(getattr(recipe, part), **changed)}
        ),
    )


def with_rows(**changed: Any) -> Plan:
    first, *others = PLAN.episodes
    return dataclasses.replace(PLAN, episodes=(dataclasses.replace(first, **changed), *others))


@pytest.mark.parametrize(
    ("plan", "why"),
    [
        (dataclasses.replace(PLAN, seeds=(7,)), "its 'cases' are not those of its arms and seeds"),
        (
            dataclasses.replace(
                PLAN, cases=tuple(case for case in PLAN.cases if case.id != "E2-random-s0")
            ),
            "its 'cases'",
        ),
        (with_rows(init=49), "its 'episodes' are not those of its recipe"),
        (with_rows(noise_seed=1), "its 'episodes'"),
        (dataclasses.replace(PLAN, episodes=PLAN.episodes[:-1]), "its 'episodes'"),
        (with_recipe("environment", tasks=(3,)), "its 'episodes'"),
        (with_recipe("rollout", episodes=2**62), "its 'episodes'"),
        (dataclasses.replace(PLAN, seeds=(0, 0)), "its 'seeds' have one twice"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, plan: Plan, why: str) -> None:
    (tmp_path / "plan.json").write_text(json.dumps(plan.to_json()))
    with pytest.raises(
        UserError, match=r"plan\.json: .*; it was changed after it was written$"
    ) as refused:
        load_plan(tmp_path)
    assert why in str(refused.value)


@pytest.mark.parametrize(
    ("part", "key", "value", "why"),
    [
        ("method", "bootstrap_resamples", 2**62, "must lie between 1 and 1000000"),
        ("method", "id", "fixed-0", "is 'fixed-0'; did you mean 'fixed-1'?"),
        ("machine", "nodes", 0, "must be at least 1, not 0"),
        ("machine", "rollout_workers", -1, "must be at least 0, not -1"),
        ("recipe.rollout", "n_action_steps", 0, "must be at least 1, not 0"),
        ("recipe.environment", "max_steps", 0, "must be at least 1, not 0"),
        ("recipe.training", "save_every", -1, "must be at least 1, not -1"),
        ("recipe.training", "log_every", 0, "must be at least 1, not 0"),
        ("episodes[1]", "init", -1, "must be at least 0, not -1"),
        ("episodes[1]", "extra", 1, "unknown key"),
        ("sanity", "floor", 1.5, "must lie between 0 and 1, not 1.5"),
    ],
)
def test_what_cannot_be_is_named_by_its_key(
    tmp_path: Path, part: str, key: str, value: object, why: str
) -> None:
    document = json.loads(json.dumps(PLAN.to_json()))
    holder = document["episodes"][1] if part == "episodes[1]" else document
    for name in () if part == "episodes[1]" else part.split("."):
        holder = holder[name]
    holder[key] = value
    (tmp_path / "plan.json").write_text(json.dumps(document))
    with pytest.raises(UserError, match=r"^.*plan\.json: .*$") as refused:
        load_plan(tmp_path)
    assert f"'{part}.{key}'" in str(refused.value)
    assert why in str(refused.value)


def test_a_plan_from_before_a_check_was_added_is_read(tmp_path: Path) -> None:
    older = dataclasses.replace(
        PLAN, cases=tuple(case for case in PLAN.cases if case.kind != "wiring")
    )
    (tmp_path / "plan.json").write_text(json.dumps(older.to_json()))
    assert load_plan(tmp_path) == older
