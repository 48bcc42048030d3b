"""What a file says, by key, so that two versions of it can be compared."""

import json
import struct
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.mutations import read_tensors


def parts_of(path: Path) -> dict[str, Any] | None:
    """What a file says, by key; None where nothing can be made of it."""
    try:
        return {".json": _parts_of_json, ".safetensors": _parts_of_tensors}.get(
            path.suffix, _parts_of_table if path.suffix == ".parquet" else _whole
        )(path)
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        struct.error,
        pa.ArrowException,
    ):
        return None


def _parts_of_json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def walk(key: str, value: Any) -> None:
        if isinstance(value, dict | list) and value:
            for name, one in value.items() if isinstance(value, dict) else enumerate(value):
                walk(f"{key}.{name}" if key else str(name), one)
        else:
            found[key] = json.dumps(value)

    walk("", json.loads(path.read_text(), object_pairs_hook=_marked))
    return found


def _marked(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        found[f"{name} (again)" if name in found else name] = value
    return found


def _parts_of_tensors(path: Path) -> dict[str, Any]:
    return {
        f"{name}.{key}": value
        for name, one in read_tensors(path).items()
        for key, value in one.items()
    }


def _parts_of_table(path: Path) -> dict[str, Any]:
    table = pq.read_table(path)
    return {
        name: (str(table[name].type), repr(table[name].to_pylist())) for name in table.column_names
    }


def _whole(path: Path) -> dict[str, Any]:
    return {"bytes": path.read_bytes()}


def changed(before: dict[str, Any], after: dict[str, Any] | None) -> list[str]:
    """The keys that differ: ``key``, ``-key`` of one that is gone, ``+key`` of one that came."""
    if after is None:
        return ["-"]
    return [
        *(key for key in before if key in after and before[key] != after[key]),
        *(f"-{key}" for key in before if key not in after),
        *(f"+{key}" for key in after if key not in before),
    ]
