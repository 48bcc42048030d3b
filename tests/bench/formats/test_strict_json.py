"""JSON that Python would take and the standard does not have is refused by one sentence."""

import json

import pytest

from bench.formats.strict_json import NotStrictError, parse


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b'{"a": NaN}', "it contains NaN"),
        (b"[-Infinity]", "it contains -Infinity"),
        (b"[1e999]", "the number 1e999 is too large"),
        (b"[" + b"1" * 301 + b"]", "is too large"),
        (b"1" * 5000, "is too large"),
        (b"[9223372036854775808]", "the number 9223372036854775808 is too large"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' appears twice"),
        (b"[" * 100_000, "nested too deeply"),
        (b'"\xff"', "not UTF-8: byte 1 is 0xff"),
        (b"", "not valid JSON: Expecting value"),
        (b"{} {}", "not valid JSON: Extra data"),
    ],
)
def test_what_the_standard_does_not_have_is_refused(text: bytes, why: str) -> None:
    with pytest.raises(NotStrictError, match=r"^.*$") as refused:
        parse(text)
    assert why in str(refused.value)


def test_everything_else_is_read_as_it_is() -> None:
    document = {"a": [1, -2.5, 1e-300, True, None, "🙂", 2**63 - 1, 1 - 2**63], "b": {}}
    assert parse(json.dumps(document).encode()) == document
