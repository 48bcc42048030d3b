"""Many small JSON objects, one a line, as columns: a run may have half a million episodes, and a
dict for each is slow to make, to look through and to free."""

import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, overload

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

CHUNK = 1 << 18
"""Bytes of lines that are decoded at a time: their objects then fit into the processor's cache."""
DTYPES: dict[Any, type] = {int: np.int64, float: np.float64, bool: np.bool_}


class Form:
    """What a line holds: the keys of a typed dict, the columns' data types, and a decoder.

    Integers must fit into 64 bits; texts, and all that a line may lack, are columns of objects.
    """

    def __init__(self, typed_dict: Any) -> None:
        kinds = typing.get_type_hints(typed_dict, include_extras=True)
        self.optional = typed_dict.__optional_keys__
        fields: list[Any] = [
            (name, typing.get_args(kind)[0] | UnsetType, UNSET)
            if name in self.optional
            else (name, kind)
            for name, kind in kinds.items()
        ]
        self.dtypes = {name: DTYPES.get(_plain(kind), np.object_) for name, kind in kinds.items()}
        self.texts = [name for name, kind in kinds.items() if kind in (str, str | None)]
        self.line: Any = msgspec.defstruct("Line", fields, gc=False, forbid_unknown_fields=True)
        self._decoder = msgspec.json.Decoder(self.line)

    def decode(self, lines: bytes) -> dict[str, Sequence[Any]] | None:
        """The columns of whole lines; None where any line is not exactly one object of the form, or
        has a key twice. Who asks then reads line by line.

        Non-obvious: a newline stays between the lines, which no string can hold, so a line that
        begins and ends with a brace is whole objects; and as many objects as lines are one each.
        """
        letters = np.frombuffer(lines, np.uint8)
        ends = np.flatnonzero(letters == ord("\n"))
        if (
            b"\r" in lines
            or letters[0] != ord("{")
            or (letters[ends[:-1] + 1] != ord("{")).any()
            or (letters[ends - 1] != ord("}")).any()
        ):
            return None
        try:
            found = self._decoder.decode_lines(lines)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        if len(found) != len(ends):
            return None
        columns = self.columns(found)
        # msgspec takes the last of two values of one key. Every key has a colon: where all are of
        # keys and of texts, there is no other.
        keys = len(found) * len(columns) - sum(columns[name].count(UNSET) for name in self.optional)
        further = int(np.count_nonzero(letters == ord(":"))) - keys
        if further and (b"\\u" in lines or further != self._colons_in_texts(columns)):
            return None
        return columns

    def columns(self, lines: Sequence[Any]) -> dict[str, Sequence[Any]]:
        """What those objects hold, by key."""
        values = zip(*map(msgspec.structs.astuple, lines), strict=True)
        return dict(zip(self.dtypes, values, strict=True))

    def _colons_in_texts(self, columns: Mapping[str, Sequence[Any]]) -> int:
        return sum(text.count(":") for name in self.texts for text in columns[name] if text)


class Columns[R: Mapping[str, Any]](Sequence[R]):
    """Objects of one form, each a dict when it is asked for.

    Attributes: columns: by key an array of shape (objects,).
    """

    def __init__(self, columns: dict[str, NDArray[Any]]) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    @overload
    def __getitem__(self, place: int) -> R: ...
    @overload
    def __getitem__(self, place: slice) -> "Columns[R]": ...
    def __getitem__(self, place: int | slice) -> "R | Columns[R]":
        if isinstance(place, slice):
            return self.take(place)
        return _object(self.columns, [column.item(place) for column in self.columns.values()])

    def __iter__(self) -> Iterator[R]:
        values = [column.tolist() for column in self.columns.values()]
        return (_object(self.columns, each) for each in zip(*values, strict=True))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def take(self, places: slice | NDArray[Any]) -> "Columns[R]":
        """Those at certain places, or those that are true in an array of shape (objects,)."""
        return Columns({name: column[places] for name, column in self.columns.items()})


def column(rows: Sequence[Mapping[str, Any]], name: str, form: Form) -> NDArray[Any]:
    """What each object holds under a key, `msgspec.UNSET` where it has none; shape (objects,)."""
    if isinstance(rows, Columns):
        return rows.columns[name]
    missing = {"default": UNSET} if name in form.optional else {}
    values = [row.get(name, UNSET) if missing else row[name] for row in rows]
    return np.array(values, dtype=form.dtypes[name])


def concatenate(parts: Sequence[Columns[Any]], form: Form) -> Columns[Any]:
    """All objects of several parts, in their order."""
    if len(parts) == 1:
        return parts[0]
    return Columns(
        {
            name: np.concatenate([np.empty(0, dtype), *(part.columns[name] for part in parts)])
            for name, dtype in form.dtypes.items()
        }
    )


def read_columns(
    file: BinaryIO, form: Form, parse: Callable[[bytes, int], Mapping[str, Any]]
) -> Columns[Any]:
    """The objects of the whole lines of a file; what stands behind the last newline is left out.
    `parse` is asked for those that cannot be decoded at once, with the number of the line, and
    raises what there is to say of a broken one."""
    shared: dict[Any, Any] = {}
    parts: list[Columns[Any]] = []
    number = 1
    while text := file.read(CHUNK):
        text += file.readline()
        lines = text if text.endswith(b"\n") else text[: text.rfind(b"\n") + 1]
        if not lines:
            break
        values = form.decode(lines)
        if values is None:
            values = form.columns(
                [
                    form.line(**parse(line, place))
                    for place, line in enumerate(lines.splitlines(), start=number)
                ]
            )
        for name in form.texts:  # few differ: one object for all that are alike
            values[name] = tuple(map(shared.setdefault, values[name], values[name]))
        parts.append(Columns({name: _array(values[name], form.dtypes[name]) for name in values}))
        number += len(parts[-1])
    return concatenate(parts, form)


def _array(values: Sequence[Any], dtype: type) -> NDArray[Any]:
    return np.fromiter(values, dtype, len(values))


def _object(names: Mapping[str, Any], values: Sequence[Any]) -> Any:
    return {name: value for name, value in zip(names, values, strict=True) if value is not UNSET}


def _plain(kind: Any) -> Any:
    """A type without its range."""
    return typing.get_args(kind)[0] if typing.get_origin(kind) is typing.Annotated else kind
