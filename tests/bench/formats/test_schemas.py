"""The JSON Schemas: what is written satisfies them, what is damaged does not, and they say what the
code says."""

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from synthetic_run import REALISTIC, core_plan, drawn_outcomes, plan_of, rows_by_case, write_run

from bench.report.write import write_report
from wmvla.rollout.journal import LATER_TYPES, ROW_TYPES

SCHEMAS = Path(__file__).parents[3] / "bench" / "formats" / "schemas"


def schema(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((SCHEMAS / f"{name}.schema.json").read_text())
    return found


def problems(document: object, name: str) -> list[str]:
    """What the schema ``name`` has against a document."""
    return [
        error.message
        for error in jsonschema.Draft202012Validator(schema(name)).iter_errors(document)
    ]


@pytest.mark.parametrize("name", ["plan", "episode", "report"])
def test_schemas_are_schemas(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema(name))


@pytest.mark.parametrize("suite", ["core", "fusion", "memory"])
@pytest.mark.parametrize("scale", ["smoke", "mini", "full"])
def test_plans_satisfy_their_schema(suite: str, scale: str) -> None:
    assert problems(plan_of(suite, scale, seeds=(0, 1)).to_json(), "plan") == []


@pytest.mark.parametrize("suite", ["fusion", "memory"])
def test_reports_of_the_ablations_satisfy_their_schema(tmp_path: Path, suite: str) -> None:
    plan = plan_of(suite, "mini")
    rates = {case.rollout: 0.9 if case.mode == "pred" else 0.6 for case in plan.rollout_cases()}
    report = write_report(write_run(tmp_path / "run", plan, drawn_outcomes(plan, rates)))
    content = json.loads(report.with_suffix(".json").read_text())
    jsonschema.validate(content, schema("report"))
    assert {rate["rollout"]: (rate["arm"], rate["mode"]) for rate in content["rates"]} == {
        case.rollout: (case.arm, case.mode) for case in plan.rollout_cases()
    }


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hash", "abc"),
        ("alpha", 0.5),
        ("episodes", []),
        ("version", 2),
        ("seeds", [0, 0]),
        ("scale", None),
    ],
)
def test_damaged_plans_do_not(key: str, value: object) -> None:
    plan = core_plan("smoke").to_json()
    jsonschema.validate(plan, schema("plan"))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**plan, key: value}, schema("plan"))


def test_episode_lines_satisfy_their_schema() -> None:
    plan = core_plan("smoke", episodes=4)
    for rows in rows_by_case(plan, {"E0-none": [True, False, "error", "timeout"]}).values():
        for row in rows:
            assert problems(row, "episode") == []


def test_episode_schema_and_journal_ask_for_the_same_keys() -> None:
    assert set(schema("episode")["required"]) == set(ROW_TYPES)
    assert set(schema("episode")["properties"]) == {*ROW_TYPES, *LATER_TYPES}
    row = rows_by_case(core_plan("smoke"), {"E0-none": [True, True]})["E0-none-s0"][0]
    for key in ROW_TYPES:
        damaged = {name: value for name, value in row.items() if name != key}
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(damaged, schema("episode"))


@pytest.mark.parametrize("played", ["all", "some", "none"])
def test_reports_satisfy_their_schema(tmp_path: Path, played: str) -> None:
    plan = core_plan("mini", seeds=(0, 1))
    outcomes = drawn_outcomes(plan, REALISTIC)
    if played == "some":
        outcomes["E2-pred-s1"] = ["error", *[None] * 23]
    if played == "none":
        outcomes = {}
    report = write_report(write_run(tmp_path / "run", plan, outcomes, metrics=played != "none"))
    content = json.loads(report.with_suffix(".json").read_text())
    jsonschema.validate(content, schema("report"))
    damaged = copy.deepcopy(content)
    damaged["claims"][0]["decision"] = "PROVEN"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(damaged, schema("report"))
