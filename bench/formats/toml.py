"""Strict loading of TOML (and JSON) into frozen dataclasses: every key known, every type right.

A misspelt key must never be ignored: the default would run in its place, and nobody would know.
"""

import dataclasses
import difflib
import functools
import tomllib
import types
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from bench.formats.strict_json import LARGEST
from wmvla.errors import UserError

_TOML_NAMES = {str: "a string", int: "an integer", float: "a number", bool: "true or false"}


def load_toml[T](path: Path, cls: type[T]) -> T:
    """Read the TOML file at `path` into the dataclass `cls`.

    Raises UserError naming the file, the dotted key and the nearest right one.
    """
    return build(cls, read_toml(path), str(path))


def read_toml(path: Path) -> dict[str, Any]:
    """The TOML file at `path` as nested dicts. UserError where there is none, or where it is not
    valid."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except ValueError as error:  # of TOML, of UTF-8, or of a number of thousands of digits
        raise UserError(f"{path}: not valid TOML: {error}") from None
    except RecursionError:
        raise UserError(f"{path}: not valid TOML: nested too deeply") from None


def build[T](cls: type[T], data: object, file: str, key: str = "") -> T:
    """Fill the dataclass `cls` from the nested dict `data`; `file` and `key` say where we are in
    messages."""
    return typing.cast("T", _convert(cls, data, file, key))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The tail of a message about an unknown `word`: the nearest known one, and all where they are
    few."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    tail = f"did you mean '{near[0]}'?" if near else ""
    if not near or len(known) <= 8:
        tail = f"{tail} known: {', '.join(known)}".strip()
    return tail


def _convert(kind: Any, value: object, file: str, key: str) -> object:
    """`value` as the annotated type `kind`, or UserError."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(typing.cast(type, kind), value, file, key)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise _wrong_type(file, key, "a list", value)
        return tuple(
            _convert(arguments[0], item, file, f"{key}[{i}]") for i, item in enumerate(value)
        )
    if origin is dict:
        if not isinstance(value, dict):
            raise _wrong_type(file, key, "a table", value)
        return {
            name: _convert(arguments[1], item, file, _join(key, name))
            for name, item in value.items()
        }
    if origin in (types.UnionType, typing.Union):  # `Literal[...] | None` is the latter
        if value is None and type(None) in arguments:
            return None
        (kind,) = (argument for argument in arguments if argument is not type(None))
        return _convert(kind, value, file, key)
    if origin is Literal:
        if value not in arguments:
            raise UserError(f"{file}: '{key}' is {value!r}; {did_you_mean(str(value), arguments)}")
        return value
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not -LARGEST < value < LARGEST:
            raise UserError(
                f"{file}: '{key}' must be a number that can be computed with, not {_short(value)}"
            )
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise _wrong_type(file, key, _TOML_NAMES[kind], value)
    return value


def _build_dataclass(cls: type, value: object, file: str, key: str) -> object:
    if not isinstance(value, dict):
        raise _wrong_type(file, key, "a table", value)
    kinds, required = _fields(cls)
    for name in value:
        if name not in kinds:
            raise UserError(
                f"{file}: unknown key '{_join(key, name)}'; {did_you_mean(name, kinds)}"
            )
    for name in required:
        if name not in value:
            raise UserError(f"{file}: missing key '{_join(key, name)}'")
    return cls(
        **{
            # A plan's episode table is long, and nearly all that is in it is of its type already;
            # numbers have their limits.
            name: item
            if type(item) is kinds[name] is not float
            else _convert(kinds[name], item, file, _join(key, name))
            for name, item in value.items()
        }
    )


@functools.cache
def _fields(cls: type) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The type of each field of a dataclass, and the names of those without a default."""
    fields, hints = dataclasses.fields(cls), typing.get_type_hints(cls)
    required = [
        field.name
        for field in fields
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    return {field.name: hints[field.name] for field in fields}, tuple(required)


def _wrong_type(file: str, key: str, wanted: str, value: object) -> UserError:
    where = f"'{key}'" if key else "the document"
    return UserError(f"{file}: {where} must be {wanted}, not {_short(value)}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name
