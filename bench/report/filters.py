"""How values look in the templates."""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

DASH = "\N{EN DASH}"
LONGEST_UNBROKEN = 24
"""Letters between quotation marks that stay on one line."""

MOST_WHOLE = 1e7


def duration(seconds: float | None) -> str:
    """``2 h 05 min``, ``3 min 20 s`` or ``4.1 s``."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def figure(value: float | None, digits: int = 3) -> str:
    """A measured number, to so many digits; one with more before its point is whole, up to
    millions."""
    if value is None:
        return "-"
    told = f"{value:.{digits}g}"
    return f"{value:.0f}" if "e+" in told and abs(value) < MOST_WHOLE else told


def cosine(value: float) -> str:
    """A cosine, to two decimal places."""
    return f"{value:.2f}"


def typeset(text: str) -> str:
    """With true minus signs and quotation marks, a dash for what is missing, and no line break
    before a per cent sign.

    Non-obvious: what is quoted in a sentence are names of claims, so a short one is kept on one
    line.
    """
    if text == "-":
        return DASH
    text = re.sub(r"(?<![\w.])-(?=\d)|(?<= )-(?= )", "\N{MINUS SIGN}", text)
    text = re.sub(r"(?<=\d) (?=%)", "\N{NO-BREAK SPACE}", text)
    return re.sub(r'"([^"]+)"', _quoted, text)


def one_line(text: str | None) -> str:
    """Fit for a cell of a Markdown table."""
    return " ".join((text or "").split()).replace("|", r"\|")


def no_markup(value: Any) -> Any:
    """Of a string for Markdown what no reader takes for HTML."""
    return value.replace("&", "&amp;").replace("<", "&lt;") if isinstance(value, str) else value


def grouped(record: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """A record as titled groups of keys and values: what lies deepest under one key is one group,
    plain values come first."""
    plain = [(key, _told(value)) for key, value in record.items() if not isinstance(value, Mapping)]
    groups = [
        (key, [(name, _told(item)) for name, item in _flat(value)])
        for key, value in record.items()
        if _nested(value)
    ]
    return [("", plain), *groups] if plain else groups


def content_hash(text: str) -> str:
    """What a Content-Security-Policy calls an inline script by."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _quoted(match: re.Match[str]) -> str:
    text = (
        match[1].replace(" ", "\N{NO-BREAK SPACE}")
        if len(match[1]) <= LONGEST_UNBROKEN
        else match[1]
    )
    return f"\N{LEFT DOUBLE QUOTATION MARK}{text}\N{RIGHT DOUBLE QUOTATION MARK}"


def _nested(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value)


def _flat(value: Any, prefix: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return [
            pair for key, item in value.items() for pair in _flat(item, f"{prefix} {key}".strip())
        ]
    if (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and any(isinstance(item, Mapping) for item in value)
    ):
        return [
            pair for number, item in enumerate(value) for pair in _flat(item, f"{prefix} {number}")
        ]
    return [(prefix, value)]


def _told(value: Any) -> str:
    if value is None or value in ({}, []):
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_told, value))
    return str(value)
