"""Lines that are read at once are read as one by one."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wmvla.json_lines import read_objects

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3),
)


@given(st.lists(st.dictionaries(st.text(), values, max_size=4), max_size=6), st.booleans())
def test_what_was_written_is_read(objects: list[dict[str, object]], ascii_only: bool) -> None:
    lines = [
        json.dumps(each, ensure_ascii=ascii_only).encode(errors="surrogatepass") for each in objects
    ]
    try:
        expected = [json.loads(line) for line in lines]
    except UnicodeDecodeError:
        expected = None
    assert read_objects(_text(lines)) == expected


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
    found = read_objects(_text(lines))
    if found is not None:
        assert found == [json.loads(line) for line in lines]


@pytest.mark.parametrize(
    "line", [b"", b"\r{}", b"[]", b"1", b"\xff{}", b'{"a": \xff}', b'{"a": "\x00"}']
)
def test_a_line_that_is_no_object_is_seen(line: bytes) -> None:
    assert read_objects(_text([b"{}", line])) is None


def test_one_that_is_wrong_is_seen() -> None:
    assert read_objects(b'{"a": 1}\n{"a": 2}\n', lambda each: each["a"] == 2) is None
    assert read_objects(b"") == []


def test_many_are_read_in_parts() -> None:
    line = b'{"a": "' + b"x" * 1000 + b'"}\n'
    assert len(read_objects(line * 2000) or ()) == 2000


def _text(lines: list[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)
