"""Many small JSON objects, one a line, read at once: several times as fast as line by line."""

import json
from collections.abc import Callable
from typing import Any

AT_ONCE = 500_000
"""Bytes that are read as one list: enough to be quick, few enough to stay in a processor's
cache."""

Object = dict[str, Any]


def read_objects(
    text: bytes, wrong: Callable[[Object], object] = lambda _: None
) -> list[Object] | None:
    """The object in each line; None where any line is not exactly one, or is `wrong`. Who asks then
    looks for the line.

    Every line ends with a newline, the last too.

    Non-obvious: many lines are read as one list. A newline stays between them, which no string can
    hold, so a line that begins and ends with a brace is whole objects; and as many objects as lines
    are one each. They are asked at once whether they are wrong, while they are near the processor.
    """
    assert not text or text.endswith(b"\n")
    found: list[Object] = []
    start = 0
    while start < len(text):
        end = text.find(b"\n", start + AT_ONCE) + 1 or len(text)
        part = _read_list(text[start:end])
        if part is None or any(map(wrong, part)):
            return None
        found += part
        start = end
    return found


def _read_list(lines: bytes) -> list[Object] | None:
    number = lines.count(b"\n")
    if (
        not lines.startswith(b"{")
        or lines.count(b"}\n") < number
        or lines.count(b"\n{") < number - 1
        or b"\r" in lines
    ):
        return None
    try:
        found = json.loads(b"[" + lines[:-1].replace(b"\n", b",\n") + b"]")
    except (ValueError, RecursionError):
        return None
    assert isinstance(found, list)
    return found if len(found) == number else None
