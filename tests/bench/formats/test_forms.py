"""What is read is what the schemas say: a document without a fault satisfies its schema, and what runs
really write has no fault."""

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealed_run import small_plan

from bench.record.forms import problems
from bench.verify.schemas import OF, schemas

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2**31),
    st.floats(allow_nan=False),
    st.sampled_from(["", "ok", "error", "replay", "0" * 64]),
    st.lists(st.integers(0, 3), max_size=3),
    st.dictionaries(st.sampled_from(["step", "x"]), st.integers(0, 1), max_size=2),
)
FILES = {
    "plan": "plan.json",
    "record": "cases/E2-replay-s0.json",
    "metrics": "metrics/E2-train-s0.jsonl",
    "replay": "replays/E2-replay-s0.jsonl",
    "episode": "episodes/E2-pred-s0.jsonl",
    "manifest": "manifest.json",
    "provenance": "provenance.json",
}
SCHEMAS = schemas()


def places(document: Any, inside: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value in a document."""
    children = (
        document.items()
        if isinstance(document, dict)
        else enumerate(document)
        if isinstance(document, list)
        else ()
    )
    return [inside] * bool(inside) + [
        way for key, value in children for way in places(value, (*inside, key))
    ]


def documents(original: Path) -> dict[str, Any]:
    texts = {name: (original / file).read_text() for name, file in FILES.items()}
    return {
        name: json.loads(text.splitlines()[0] if FILES[name].endswith("jsonl") else text)
        for name, text in texts.items()
    }


def faults_in(name: str, document: Any) -> list[str]:
    if name == "plan" and isinstance(document, dict):
        document = {key: value for key, value in document.items() if key != "hash"}
    return list(problems(OF[name], document))


def errors_in(name: str, document: Any) -> list[Any]:
    return list(jsonschema.Draft202012Validator(SCHEMAS[name]).iter_errors(document))


@pytest.mark.parametrize("name", sorted(FILES))
def test_what_runs_write_has_no_fault(original: Path, name: str) -> None:
    document = documents(original)[name]
    assert faults_in(name, document) == []
    assert errors_in(name, document) == []


@given(data=st.data())
def test_nothing_is_accepted_that_the_schema_refuses(original: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(FILES)))
    document = copy.deepcopy(documents(original)[name])
    *way, last = data.draw(st.sampled_from(places(document)))
    holder = document
    for key in way:
        holder = holder[key]
    if data.draw(st.booleans()):
        holder[last] = data.draw(VALUES)
    else:
        del holder[last]
    if faults_in(name, document) == [] and (name != "plan" or last != "hash"):
        assert errors_in(name, document) == []


@pytest.mark.parametrize("git", [None, [], "abc", 1])
def test_a_provenance_whose_git_is_no_object_has_a_fault(original: Path, git: Any) -> None:
    document = {**documents(original)["provenance"], "git": git}
    assert any("git" in fault for fault in faults_in("provenance", document))


@pytest.mark.parametrize("name", sorted(FILES))
def test_faults_name_the_key(original: Path, name: str) -> None:
    document = documents(original)[name]
    key = next(key for key in document if key in SCHEMAS[name]["required"] and key != "hash")
    del document[key]
    assert f"missing key '{key}'" in faults_in(name, document)


def test_a_plan_is_accepted_as_it_is_written() -> None:
    assert errors_in("plan", json.loads(json.dumps(small_plan().to_json()))) == []
