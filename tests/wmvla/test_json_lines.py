"""Lines that are read at once are read as one by one."""

import json
from typing import Annotated, Any, NotRequired, TypedDict

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wmvla.json_lines import read_objects

ANY = msgspec.json.Decoder(dict[str, Any])
text = st.text(st.characters(exclude_categories=["Cs", "Cc"]))
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text,
    lambda inner: st.lists(inner, max_size=3),
)


@given(st.lists(st.dictionaries(text, values, max_size=4), max_size=6), st.booleans())
def test_what_was_written_is_read(objects: list[dict[str, object]], ascii_only: bool) -> None:
    lines = [json.dumps(each, ensure_ascii=ascii_only).encode() for each in objects]
    found = read_objects(_text(lines), ANY)
    lists = [value for each in objects for value in each.values() if isinstance(value, list)]
    hidden = ascii_only or any(":" in json.dumps(value) for value in lists)
    assert found == objects or (hidden and found is None), "an escape or a list may hide a colon"


@given(
    st.lists(
        st.sampled_from(
            [
                b'{"a":1}',
                b'{"a":"}',
                b'{"}',
                b'{"a":{}',
                b'{"b":2}},{"c":3}',
                b'"x":1}',
                b'{"a":1},{"b":2}',
                b"{",
            ]
        ),
        max_size=5,
    )
)
def test_nothing_is_read_that_no_line_holds_alone(lines: list[bytes]) -> None:
    """Pieces that make sense only together, and several objects in one line, also where their
    number is that of the lines."""
    found = read_objects(_text(lines), ANY)
    if found is not None:
        assert found == [json.loads(line) for line in lines]


@pytest.mark.parametrize(
    "line", [b"", b"\r{}", b"[]", b"1", b"\xff{}", b'{"a": \xff}', b'{"a": "\x00"}']
)
def test_a_line_that_is_no_object_is_seen(line: bytes) -> None:
    assert read_objects(_text([b"{}", line]), ANY) is None


class Point(TypedDict):
    x: Annotated[int, msgspec.Meta(ge=0)]
    name: NotRequired[str]


@pytest.mark.parametrize(
    "line",
    [
        b'{"x": 1, "x": 1}',
        b'{"x": 1, "name": "a:b", "name": "c"}',
        b'{"x": 1, "y": {"a": 1, "a": 2}}',
        b'{"x": 1, "name" : "b", "x" : 2}',
        b'{"x": 1, "\\u0078": 1}',
        b'{"x": 1, "x": 1, "name": "\\u003a"}',
        b'{"x": 1, "y": 1}',
        b'{"x": -1}',
        b'{"x": NaN}',
        b'{"x": 1.0}',
        b'{"name": "b"}',
    ],
)
def test_one_that_is_wrong_or_has_a_key_twice_is_seen(line: bytes) -> None:
    assert read_objects(_text([b'{"x": 1}', line]), msgspec.json.Decoder(Point)) is None


def test_colons_in_strings_are_no_fault() -> None:
    lines = [b'{"x": 1}', b'{"x": 2, "name": "a: b: c"}']
    assert read_objects(_text(lines), msgspec.json.Decoder(Point)) == [
        {"x": 1},
        {"x": 2, "name": "a: b: c"},
    ]


def test_of_nothing_there_is_nothing() -> None:
    assert read_objects(b"", ANY) == []


def _text(lines: list[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)
