"""How values look in the templates."""

import base64
import hashlib
import re
from collections.abc import Mapping
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
    """A measured number, to so many digits; with more before its point it is whole, to millions."""
    if value is None:
        return "-"
    text = f"{value:.{digits}g}"
    return f"{value:.0f}" if "e+" in text and abs(value) < MOST_WHOLE else text


def typeset(text: str) -> str:
    """With true minus signs and quotation marks, a dash for what is missing, and no line break
    before a per cent sign, or in a short name of a claim, as what is quoted here is.
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
    """A record as titled groups of keys and values: plain values first, then each table."""
    tables = {key: value for key, value in record.items() if isinstance(value, Mapping)}
    plain = [(key, _shown(value)) for key, value in record.items() if key not in tables]
    groups = [
        (key, [(name, _shown(item)) for name, item in _flat(table)])
        for key, table in tables.items()
        if table
    ]
    return [("", plain), *groups] if plain else groups


def content_hash(text: str) -> str:
    """What a Content-Security-Policy calls an inline script by."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _quoted(match: re.Match[str]) -> str:
    text, short = match[1], len(match[1]) <= LONGEST_UNBROKEN
    text = text.replace(" ", "\N{NO-BREAK SPACE}") if short else text
    return f"\N{LEFT DOUBLE QUOTATION MARK}{text}\N{RIGHT DOUBLE QUOTATION MARK}"


def _flat(value: Any, prefix: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        inner = [(f"{prefix} {key}".strip(), item) for key, item in value.items()]
    elif isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
        inner = [(f"{prefix} {number}", item) for number, item in enumerate(value)]
    else:
        return [(prefix, value)]
    return [pair for name, item in inner for pair in _flat(item, name)]


def _shown(value: Any) -> str:
    if value is None or value in ({}, []):
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value))
    return str(value)
