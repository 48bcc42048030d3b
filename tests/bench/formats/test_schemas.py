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
from bench.verify.schemas import FOLDER, as_text, schemas
from wmvla.rollout.journal import Row

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


@pytest.mark.parametrize("name", sorted(schemas()))
def test_the_committed_schemas_are_those_of_the_classes(name: str) -> None:
    written = (FOLDER / f"{name}.schema.json").read_text()
    assert written == as_text(schemas()[name]), "python -m bench.verify.schemas writes them"


@pytest.mark.parametrize("name", [*sorted(schemas()), "report", "comparison"])
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
        ("version", 1),
        ("seeds", [-1]),
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


def test_a_line_without_one_of_the_keys_that_all_have_is_damaged() -> None:
    row = rows_by_case(core_plan("smoke"), {"E0-none": [True, True]})["E0-none-s0"][0]
    assert {"index", "status", "success", "scene_hash"} <= set(Row.__required_keys__)
    for key in Row.__required_keys__:
        damaged = {name: value for name, value in row.items() if name != key}
        assert problems(damaged, "episode") == [f"'{key}' is a required property"]


def test_ranges_and_what_attributes_say_are_in_the_schemas() -> None:
    training = schema("plan")["$defs"]["Training"]
    assert training["properties"]["save_every"] == {"type": "integer", "minimum": 1}
    assert training["properties"]["batch_size"]["description"].startswith("Samples per optimizer")
    assert training["additionalProperties"] is False
    assert schema("record")["additionalProperties"] is True


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
