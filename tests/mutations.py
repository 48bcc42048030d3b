"""Small changes to a file that somebody else wrote, drawn by chance."""

import copy
import json
import math
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.damages import POINTER

type Draws = np.random.Generator
type Kinds = dict[str, Callable[[Path, Draws], None]]
SECTOR = 64
"""Bytes that a bad sector of these small files spoils."""


def one_of[T](draws: Draws, found: list[T]) -> T:
    return found[int(draws.integers(len(found)))]


def _bytes(change: Callable[[bytearray, Draws], bytes]) -> Callable[[Path, Draws], None]:
    def mutate(path: Path, draws: Draws) -> None:
        path.write_bytes(change(bytearray(path.read_bytes()), draws))

    return mutate


def _bit_flipped(content: bytearray, draws: Draws) -> bytes:
    content[int(draws.integers(len(content)))] ^= 1 << int(draws.integers(8))
    return content


def _byte_put_in(content: bytearray, draws: Draws) -> bytes:
    content.insert(int(draws.integers(len(content) + 1)), int(draws.integers(256)))
    return content


def _byte_taken_out(content: bytearray, draws: Draws) -> bytes:
    del content[int(draws.integers(len(content)))]
    return content


def _cut_short(content: bytearray, draws: Draws) -> bytes:
    return content[: int(draws.integers(1, len(content)))]


def _sector_of_zeros(content: bytearray, draws: Draws) -> bytes:
    first = int(draws.integers(len(content)))
    spoilt = content[first : first + SECTOR]
    content[first : first + SECTOR] = bytes(len(spoilt))
    return content


def renamed(path: Path) -> Path:
    """The name that a file gets."""
    return path.with_name(f"{path.name}.part")


def _twice(content: bytearray, draws: Draws) -> bytes:
    return content + content


BYTES: Kinds = {
    "a bit flipped": _bytes(_bit_flipped),
    "a byte put in": _bytes(_byte_put_in),
    "a byte taken out": _bytes(_byte_taken_out),
    "cut short": _bytes(_cut_short),
    "a sector of zeros": _bytes(_sector_of_zeros),
    "twice in a row": _bytes(_twice),
    "removed": lambda path, draws: path.unlink(),
    "another name": lambda path, draws: path.replace(renamed(path)) and None,
    "emptied": lambda path, draws: path.write_bytes(b"") and None,
    "a pointer": lambda path, draws: path.write_text(POINTER) and None,
}

NUMBERS: dict[str, Callable[[float], float]] = {
    "scaled": lambda value: 2 * value + (value == 0),
    "negated": lambda value: -value - (value == 0),
    "huge": lambda value: 10**9 if isinstance(value, int) else 1e30,
    "zero": lambda value: 0 * value,
}
VALUES: dict[str, Any] = {
    "null": None,
    "text": "seven",
    "NaN": math.nan,
    "a list": [],
    "an object": {},
    "true": True,
}


SECOND = "the second of two"


def _nodes(content: Any) -> Iterator[tuple[Any, Any]]:
    """Every place of a JSON document: the container, and the key or number in it."""
    for key in content if isinstance(content, dict) else range(len(content)):
        yield content, key
        if isinstance(content[key], dict | list):
            yield from _nodes(content[key])


def _json(
    change: Callable[[Any, Any, Draws], None], objects: bool
) -> Callable[[Path, Draws], None]:
    """``change`` one place; ``objects``: one that has a name."""

    def mutate(path: Path, draws: Draws) -> None:
        content = json.loads(path.read_text())
        places = [place for place in _nodes(content) if not objects or isinstance(place[0], dict)]
        change(*one_of(draws, places), draws)
        path.write_text(json.dumps(content, indent=2))

    return mutate


def _renamed_key(holder: dict[str, Any], key: str, draws: Draws) -> None:
    place = int(draws.integers(len(key) + 1))
    kept = {(f"{key[:place]}x{key[place:]}" if one == key else one): holder[one] for one in holder}
    holder.clear()
    holder.update(kept)


def _other_number(name: str) -> Callable[[Path, Draws], None]:
    def mutate(path: Path, draws: Draws) -> None:
        content = json.loads(path.read_text())
        places = [
            (holder, key) for holder, key in _nodes(content) if type(holder[key]) in (int, float)
        ]
        holder, key = one_of(draws, places)
        holder[key] = NUMBERS[name](holder[key])
        path.write_text(json.dumps(content, indent=2))

    return mutate


def _key_twice(path: Path, draws: Draws) -> None:
    content = json.loads(path.read_text())
    holder, key = one_of(draws, [node for node in _nodes(content) if isinstance(node[0], dict)])
    other = one_of(draws, [None, 7, "seven", not holder[key], copy.deepcopy(holder[key])])
    holder[SECOND] = other  # json.dumps would write a key once
    path.write_text(json.dumps(content, indent=2).replace(json.dumps(SECOND), json.dumps(key)))


JSON: Kinds = {
    "a key removed": _json(lambda holder, key, draws: holder.pop(key), objects=True),
    "a key renamed": _json(_renamed_key, objects=True),
    "a key twice": _key_twice,
    "an item removed": _json(lambda holder, key, draws: holder.pop(key), objects=False),
    **{f"a number {name}": _other_number(name) for name in NUMBERS},
    **{
        f"{name} for a value": _json(
            lambda holder, key, draws, value=value: holder.__setitem__(key, copy.deepcopy(value)),
            objects=False,
        )
        for name, value in VALUES.items()
    },
}

type Tensors = dict[str, Any]
"""The header of a safetensors file: name -> dtype, shape, and here the bytes as ``data``."""


def read_tensors(path: Path) -> Tensors:
    """What a safetensors file holds, taken apart by its description, without its library."""
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header, body = json.loads(content[8 : 8 + size]), content[8 + size :]
    for name, one in header.items():
        if name != "__metadata__":
            first, last = one.pop("data_offsets")
            one["data"] = body[first:last]
    return header


def write_tensors(path: Path, tensors: Tensors) -> None:
    header, body = {}, b""
    for name, one in tensors.items():
        header[name] = one
        if name != "__metadata__":
            first, body = len(body), body + one["data"]
            rest = {key: value for key, value in one.items() if key != "data"}
            header[name] = {**rest, "data_offsets": [first, len(body)]}
    packed = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(packed)) + packed + body)


def _tensor(change: Callable[[Tensors, str, Draws], None]) -> Callable[[Path, Draws], None]:
    def mutate(path: Path, draws: Draws) -> None:
        tensors = read_tensors(path)
        change(tensors, one_of(draws, [name for name in tensors if name != "__metadata__"]), draws)
        write_tensors(path, tensors)

    return mutate


def _other_values(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path, Draws], None]:
    """One number of a tensor, or all."""

    def mutated(tensors: Tensors, name: str, draws: Draws) -> None:
        values = np.frombuffer(tensors[name]["data"], np.float32).copy()
        chosen = slice(None) if draws.random() < 0.3 else int(draws.integers(len(values)))
        values[chosen] = change(values[chosen])
        tensors[name]["data"] = values.tobytes()

    return _tensor(mutated)


def _other_type(tensors: Tensors, name: str, draws: Draws) -> None:
    dtype, kind = one_of(draws, [("F16", np.float16), ("F64", np.float64), ("I32", np.int32)])
    values = np.frombuffer(tensors[name]["data"], np.float32)
    tensors[name] |= {"dtype": dtype, "data": values.astype(kind).tobytes()}


def _other_width(tensors: Tensors, name: str, draws: Draws) -> None:
    shape = tensors[name]["shape"]
    values = np.frombuffer(tensors[name]["data"], np.float32).reshape(shape)
    if not shape or draws.random() < 0.2:
        values = values[None]
    else:
        axis = int(draws.integers(len(shape)))
        more = int(draws.integers(1, 3))
        values = (
            np.repeat(values, more + 1, axis)
            if draws.random() < 0.5
            else values.take(range(max(1, shape[axis] - more)), axis)
        )
    tensors[name] |= {"shape": list(values.shape), "data": values.tobytes()}


def _turned(tensors: Tensors, name: str, draws: Draws) -> None:
    """The same numbers, the axes the other way round."""
    tensors[name]["shape"] = tensors[name]["shape"][::-1]


def _swapped(tensors: Tensors, name: str, draws: Draws) -> None:
    other = one_of(draws, [one for one in tensors if one not in ("__metadata__", name)])
    tensors[name], tensors[other] = tensors[other], tensors[name]


def _tensor_renamed(tensors: Tensors, name: str, draws: Draws) -> None:
    _renamed_key(tensors, name, draws)


def _header_bit(content: bytearray, draws: Draws) -> bytes:
    (size,) = struct.unpack("<Q", content[:8])
    content[int(draws.integers(8 + size))] ^= 1 << int(draws.integers(8))
    return content


def _in_header(path: Path, draws: Draws) -> None:
    """A place of the header, JSON as it stands there, changed as any other JSON."""
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    path.write_bytes(content[8 : 8 + size])
    try:
        JSON[one_of(draws, list(JSON))](path, draws)
        header = path.read_bytes()
    finally:
        path.write_bytes(content)
    path.write_bytes(struct.pack("<Q", len(header)) + header + content[8 + size :])


TENSORS: Kinds = {
    "a tensor removed": _tensor(lambda tensors, name, draws: tensors.pop(name)),
    "a tensor renamed": _tensor(_tensor_renamed),
    "two tensors swapped": _tensor(_swapped),
    "another type": _tensor(_other_type),
    "another width": _tensor(_other_width),
    "axes turned": _tensor(_turned),
    "a bit of the header": _bytes(_header_bit),
    "a key of the header": _in_header,
    "values scaled": _other_values(lambda values: values * 2),
    "values negated": _other_values(lambda values: -values),
    "values NaN": _other_values(lambda values: values * np.nan),
    "values huge": _other_values(lambda values: values * 0 + np.float32(1e30)),
    "values zero": _other_values(lambda values: values * 0),
}


def _table(change: Callable[[pa.Table, str, Draws], pa.Table]) -> Callable[[Path, Draws], None]:
    def mutate(path: Path, draws: Draws) -> None:
        table = pq.read_table(path)
        pq.write_table(change(table, one_of(draws, table.column_names), draws), path)

    return mutate


def _with(
    table: pa.Table, name: str, values: list[Any], kind: pa.DataType | None = None
) -> pa.Table:
    column = pa.array(values, kind or table[name].type)
    return table.set_column(table.column_names.index(name), name, column)


def _cell(value: Callable[[Any], Any]) -> Callable[[pa.Table, str, Draws], pa.Table]:
    """One number of one row of a column of numbers changed."""

    def changed(table: pa.Table, name: str, draws: Draws) -> pa.Table:
        name = one_of(draws, [field.name for field in table.schema if _of_numbers(field.type)])
        values = table[name].to_pylist()
        holder, place = values, int(draws.integers(len(values)))
        while isinstance(holder[place], list):
            holder, place = holder[place], int(draws.integers(len(holder[place])))
        holder[place] = value(holder[place])
        try:
            return _with(table, name, values)
        except (pa.ArrowInvalid, pa.ArrowTypeError):  # the type has no such number
            return _with(table, name, [str(one) for one in values], pa.string())

    return changed


def _of_numbers(kind: pa.DataType) -> bool:
    while pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        kind = kind.value_type
    return pa.types.is_floating(kind) or pa.types.is_integer(kind)


def _column_renamed(table: pa.Table, name: str, draws: Draws) -> pa.Table:
    return table.rename_columns([f"{one}x" if one == name else one for one in table.column_names])


def _as_text(table: pa.Table, name: str, draws: Draws) -> pa.Table:
    return _with(table, name, [str(value) for value in table[name].to_pylist()], pa.string())


def _rows(
    order: Callable[[list[int], int], list[int]],
) -> Callable[[pa.Table, str, Draws], pa.Table]:
    def changed(table: pa.Table, name: str, draws: Draws) -> pa.Table:
        rows = list(range(len(table)))
        chosen = order(rows, int(draws.integers(len(rows))))
        return pa.concat_tables([table.slice(0, 0), *(table.slice(row, 1) for row in chosen)])

    return changed


def _columns_swapped(table: pa.Table, name: str, draws: Draws) -> pa.Table:
    """Two columns of one type change places, each under the other's name."""
    alike = [one for one in table.column_names if table[one].type == table[name].type]
    other = one_of(draws, alike)
    first, second = table[name], table[other]
    table = table.set_column(table.column_names.index(name), name, second)
    return table.set_column(table.column_names.index(other), other, first)


def _half(table: pa.Table, name: str, draws: Draws) -> pa.Table:
    """Rows without the last number of one column of vectors."""
    names = [
        field.name
        for field in table.schema
        if pa.types.is_list(field.type) or pa.types.is_fixed_size_list(field.type)
    ]
    name = one_of(draws, names) if names else name
    values = [value[:-1] if isinstance(value, list) else value for value in table[name].to_pylist()]
    kind = table[name].type
    if pa.types.is_fixed_size_list(kind):
        kind = pa.list_(kind.value_type)
    return _with(table, name, values, kind)


PARQUET: Kinds = {
    name: _table(change)
    for name, change in {
        "a column removed": lambda table, name, draws: table.drop_columns([name]),
        "a column renamed": _column_renamed,
        "a column as text": _as_text,
        "a column of nulls": lambda table, name, draws: _with(table, name, [None] * len(table)),
        "two columns swapped": _columns_swapped,
        "vectors cut short": _half,
        "a row removed": _rows(lambda rows, row: rows[:row] + rows[row + 1 :]),
        "a row twice": _rows(lambda rows, row: rows[: row + 1] + rows[row:]),
        "rows the other way round": _rows(lambda rows, row: rows[::-1]),
        "a number scaled": _cell(lambda value: 2 * value + (value == 0)),
        "a number negated": _cell(lambda value: -value - (value == 0)),
        "a number NaN": _cell(lambda value: math.nan),
        "a number huge": _cell(lambda value: 10**9),
        "a number null": _cell(lambda value: None),
        "without the schema's notes": lambda table, name, draws: table.replace_schema_metadata(
            None
        ),
    }.items()
}


def kinds_of(path: Path) -> Kinds:
    """What can be done to a file."""
    own = {".json": JSON, ".safetensors": TENSORS, ".parquet": PARQUET}.get(path.suffix, {})
    return {**BYTES, **own}
