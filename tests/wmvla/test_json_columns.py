"""Lines read as columns are the objects that line by line they are, or whoever says what is wrong is
asked."""

import io
import json
from typing import Any, NotRequired, TypedDict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

import wmvla.json_columns
from wmvla.json_columns import Columns, Form, column, concatenate, read_columns


class Point(TypedDict):
    x: int
    share: float
    seen: bool
    name: str
    note: NotRequired[str]


FORM = Form(Point)
TEXTS = st.text(st.sampled_from('ab:,{}"\\\n\r\u2028é'), max_size=6)
POINTS = st.fixed_dictionaries(
    {
        "x": st.integers(-(2**63), 2**63 - 1),
        "share": st.floats(allow_nan=False, allow_infinity=False),
        "seen": st.booleans(),
        "name": TEXTS,
    },
    optional={"note": TEXTS},
)
GOOD = {"x": 1, "share": 0.5, "seen": True, "name": "a"}


class Asked(Exception):  # noqa: N818
    """The line-by-line reader was asked."""


def read(text: bytes) -> Columns[Point]:
    def parse(line: bytes, number: int) -> Point:
        raise Asked(number)

    return read_columns(io.BytesIO(text), FORM, parse)


def written(points: list[Any], **style: Any) -> bytes:
    return "".join(json.dumps(point, **style) + "\n" for point in points).encode()


@given(points=st.lists(POINTS), ascii_only=st.booleans(), chunk=st.integers(1, 200))
def test_what_is_read_is_what_was_written(points: list[Any], ascii_only: bool, chunk: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wmvla.json_columns, "CHUNK", chunk)
        # Whatever is not read at once is parsed alone, and is the same.
        found = read_columns(
            io.BytesIO(written(points, ensure_ascii=ascii_only) + b'{"x": 1'),
            FORM,
            lambda line, _: json.loads(line),
        )
    assert list(found) == points
    assert [found[place] for place in range(len(found))] == points
    for name in FORM.dtypes:
        assert column(found, name, FORM).tolist() == [point.get(name, UNSET) for point in points]
        assert column(found, name, FORM).tolist() == column(points, name, FORM).tolist()


@pytest.mark.parametrize(
    "line",
    [
        b'{"x": 1, "share": 0.5, "seen": true, "name": "a", "x": 1}',
        b'{"x": 1, "share": 0.5, "seen": true, "name": "b", "name": "a:b"}',
        b'{"x": 1, "share": 0.5, "seen": true, "name": "a:b", "name": "b"}',
        b'{"x": 1, "share": 0.5, "seen": true, "name": "\\u003a", "x": 1}',
        b'{"x": 1, "\\u0078": 2, "share": 0.5, "seen": true, "name": "a"}',
        b'{"x": 1, "share": 0.5, "seen": true, "name": "a", "y": 1}',
        b'{"x": 1, "share": 0.5, "seen": true}',
        b'{"x": 1.5, "share": 0.5, "seen": true, "name": "a"}',
        b'{"x": 9223372036854775808, "share": 0.5, "seen": true, "name": "a"}',
        b'{"x": 1, "share": NaN, "seen": true, "name": "a"}',
        b'{"x": 1, "share": 0.5, "seen": 1, "name": "a"}',
        b'{"x": 1, "share": 0.5, "seen": true, "name": "a"} {"x": 1}',
        b'{"x": 1, "share": 0.5, "seen": true,',
        b'"name": "a"}',
        b"\xff",
        b"[]",
        b"",
    ],
)
@pytest.mark.parametrize("chunk", [1, 60, 1 << 18])
def test_a_line_that_is_not_the_form_s_is_asked_about(
    line: bytes, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wmvla.json_columns, "CHUNK", chunk)
    with pytest.raises((Asked, OverflowError)):
        read(written([GOOD, GOOD]) + line + b"\n" + written([GOOD]))


def test_the_number_of_a_broken_line_counts_from_the_beginning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wmvla.json_columns, "CHUNK", 1)
    with pytest.raises(Asked, match=r"^4$"):
        read(written([GOOD, GOOD, GOOD]) + b"{}\n" + written([GOOD]))


def test_parts_and_places_keep_their_order() -> None:
    one, other = (read(written([{**GOOD, "x": x} for x in xs])) for xs in ([3, 1], [2]))
    both = concatenate([one, other], FORM)
    assert [point["x"] for point in both] == [3, 1, 2]
    assert [point["x"] for point in both[1:]] == [1, 2]
    assert [point["x"] for point in both.take(np.argsort(column(both, "x", FORM)))] == [1, 2, 3]
    assert len(concatenate([], FORM)) == 0
