"""Damages of the files of a run, drawn by hypothesis: of their bytes, of their lines, and of the
documents in them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

ODD_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.just(10**400),
    st.floats(allow_nan=True, allow_infinity=True),
    st.text(max_size=20),
    st.sampled_from(
        [
            "",
            "\x00",
            "\u202e‮ﷺ",
            "🙂" * 50,
            "<script>alert(1)</script>",
            "../../etc/passwd",
            "NaN",
            "E9-pred",
        ]
    ),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=5), st.none(), max_size=3),
    st.just([[[[]]]]),
    st.just({"error": "what"}),
)
ODD_BYTES = st.one_of(
    st.binary(max_size=20),
    st.sampled_from(
        [
            b"\xff\xfe",
            b"\n",
            b"\n\n",
            b"\r",
            b"{}",
            b"[]",
            b"null",
            b"NaN",
            b"[" * 5000,
            b"\xed\xa0\x80",
            b"1" * 5000,
        ]
    ),
)


def ways(document: Any, inside: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value in a document, itself first."""
    children = (
        document.items()
        if isinstance(document, dict)
        else enumerate(document)
        if isinstance(document, list)
        else ()
    )
    return [inside, *(way for key, value in children for way in ways(value, (*inside, key)))]


def mutate_document(draw: Callable[[Any], Any], document: Any) -> Any:
    """Delete, replace, rename, double or exchange one value."""
    way = draw(st.sampled_from(ways(document)))
    if not way:
        return draw(ODD_VALUES)
    holder = document
    for key in way[:-1]:
        holder = holder[key]
    value = holder[way[-1]]
    kind = draw(st.sampled_from(["delete", "odd", "near", "rename", "double", "wrap"]))
    if kind == "delete":
        del holder[way[-1]]
    elif kind == "odd":
        holder[way[-1]] = draw(ODD_VALUES)
    elif kind == "near":
        holder[way[-1]] = near(value)
    elif kind == "rename" and isinstance(holder, dict):
        holder[f"{way[-1]}_"] = holder.pop(way[-1])
    elif kind == "double" and isinstance(holder, list):
        holder.append(value)
    else:
        holder[way[-1]] = [value]
    return document


def near(value: Any) -> Any:
    """Another value that looks as right."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return value[:-1] + chr(ord(value[-1]) ^ 1) if value else "x"
    return value[::-1] if isinstance(value, list) else {}


def mutate_lines(draw: Callable[[Any], Any], text: bytes) -> bytes:
    """Change, delete, double, exchange, cut or insert a line of a file of JSON lines."""
    lines = text.splitlines(keepends=True)
    at = draw(st.integers(0, len(lines) - 1))
    kind = draw(st.sampled_from(["change", "delete", "double", "exchange", "cut", "insert", "end"]))
    if kind == "change":
        lines[at] = json.dumps(mutate_document(draw, json.loads(lines[at]))).encode() + b"\n"
    elif kind == "delete":
        del lines[at]
    elif kind == "double":
        lines.append(lines[at])
    elif kind == "exchange":
        lines[at], lines[-1] = lines[-1], lines[at]
    elif kind == "cut":
        lines[at] = lines[at][: draw(st.integers(0, len(lines[at]) - 1))]
    elif kind == "insert":
        lines.insert(at, draw(ODD_BYTES) + b"\n")
    else:
        lines.append(draw(ODD_BYTES))
    return b"".join(lines)


def mutate_bytes(draw: Callable[[Any], Any], text: bytes) -> bytes:
    """Empty, cut, or change some bytes of a file."""
    at, length = draw(st.integers(0, len(text))), draw(st.integers(0, 30))
    kind = draw(st.sampled_from(["empty", "cut", "change", "insert"]))
    if kind == "empty":
        return b""
    if kind == "cut":
        return text[:at]
    return text[:at] + draw(ODD_BYTES) + text[at if kind == "insert" else at + length :]


def mutate_file(draw: Callable[[Any], Any], run_dir: Path, name: str, others: list[str]) -> None:
    """Damage a file of a run; it may be removed, made a folder, or exchanged for another one."""
    path = run_dir / name
    kind = draw(st.sampled_from(["structure"] * 6 + ["bytes"] * 3 + ["swap", "gone", "folder"]))
    if kind == "structure" and name.endswith(".jsonl"):
        path.write_bytes(mutate_lines(draw, path.read_bytes()))
    elif kind == "structure" and name.endswith(".json"):
        path.write_text(json.dumps(mutate_document(draw, json.loads(path.read_text())), indent=1))
    elif kind == "swap":
        path.write_bytes((run_dir / draw(st.sampled_from(others))).read_bytes())
    elif kind in ("gone", "folder"):
        path.unlink()
        if kind == "folder":
            path.mkdir()
    else:
        path.write_bytes(mutate_bytes(draw, path.read_bytes()))
