"""The quick look at a document never accepts what its schema does not, and accepts what runs really
write."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealed_run import small_plan

from bench.formats import json_schema

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
    "report": "report.json",
}


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


def test_what_runs_write_is_accepted_at_once(original: Path) -> None:
    """But of reports, whose schema asks for one of several forms."""
    accepted = {
        name: json_schema._quick(name)(document) for name, document in documents(original).items()
    }
    assert [name for name, yes in accepted.items() if not yes] in ([], ["report"])


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
    if json_schema._quick(name)(document):
        assert list(json_schema._validator(name).iter_errors(document)) == []


@pytest.mark.parametrize("name", sorted(FILES))
def test_problems_name_the_place(original: Path, name: str) -> None:
    document = documents(original)[name]
    key = next(key for key in document if key in json_schema._validator(name).schema["required"])
    del document[key]
    assert any(
        f"'{key}' is a required property" in problem
        for problem in json_schema.problems(document, name)
    )


def test_a_plan_is_accepted_as_it_is_written() -> None:
    assert list(json_schema.problems(small_plan().to_json(), "plan")) == []
