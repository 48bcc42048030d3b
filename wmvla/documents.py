"""Documents as typed classes: dataclasses and typed dicts whose annotations say types and ranges.

msgspec reads them; here is what it does not do: refuse an unknown key, and name every fault by its
dotted key. A misspelt key must never be ignored: the default would run in its place, and nobody
would know.
"""

import difflib
import functools
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec import inspect

from wmvla.errors import UserError

LARGEST = 1e300
"""No number of a document is as large: sums and products of those below stay finite."""
NAMES: dict[type, tuple[str, tuple[type, ...]]] = {
    inspect.StrType: ("a string", (str,)),
    inspect.IntType: ("an integer", (int,)),
    inspect.FloatType: ("a number", (float, int)),
    inspect.BoolType: ("true or false", (bool,)),
    inspect.NoneType: ("null", (type(None),)),
}


def further[C](kind: Any) -> Any:
    """A class decorator: documents of the class may have more keys, with values of that kind."""

    def mark(cls: C) -> C:
        cls.__further__ = kind  # type: ignore[attr-defined]
        return cls

    return mark


def build[T](cls: type[T], data: object, file: str) -> T:
    """The document `data`, nested dicts and lists, as `cls`. UserError names the file, the dotted
    key and the nearest right one."""
    if fault := next(faults(cls, data), None):
        raise UserError(f"{file}: {fault}")
    return msgspec.convert(data, cls)


def faults(cls: Any, data: object, key: str = "") -> Iterator[str]:
    """What keeps a document from being a `cls`, a sentence each, in the order of the document."""
    yield from _faults(_kind(cls), data, key)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The tail of a message about an unknown `word`: the nearest known one, and all if few."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    tail = f"did you mean '{near[0]}'?" if near else ""
    if not near or len(known) <= 8:
        tail = f"{tail} known: {', '.join(known)}".strip()
    return tail


@functools.cache
def _kind(cls: Any) -> inspect.Type:
    return inspect.type_info(cls)


def _faults(kind: inspect.Type, value: object, key: str) -> Iterator[str]:
    match kind:
        case inspect.AnyType():
            return
        case inspect.Metadata():
            found = list(_faults(kind.type, value, key))
            says = (kind.extra or {}).get("says")
            yield from [f"'{key}' must be {says}, not {_short(value)}"] if found and says else found
        case inspect.UnionType():
            yield from _union_faults(kind, value, key)
        case inspect.DataclassType() | inspect.TypedDictType():
            yield from _object_faults(kind, value, key)
        case inspect.DictType():
            if not isinstance(value, dict):
                yield _wrong_type(key, "a table", value)
                return
            if not value and kind.min_length:
                yield f"'{key}' must name at least one; it is empty"
            for name, item in value.items():
                yield from _faults(kind.key_type, name, _join(key, name))
                yield from _faults(kind.value_type, item, _join(key, name))
        case inspect.ListType() | inspect.VarTupleType():
            if not isinstance(value, list | tuple):
                yield _wrong_type(key, "a list", value)
                return
            if not value and kind.min_length:
                yield f"'{key}' must name at least one; it is empty"
            elif not (kind.min_length or 0) <= len(value) <= (kind.max_length or len(value)):
                yield f"'{key}' has {len(value)} entries, not {kind.min_length}"
            if not _are_flat(kind.item_type, value):
                for number, item in enumerate(value):
                    yield from _faults(kind.item_type, item, f"{key}[{number}]")
        case _:
            if wrong := _leaf_fault(kind, value, key):
                yield wrong


def _union_faults(kind: inspect.UnionType, value: object, key: str) -> list[str]:
    """Of several kinds a value is meant to be the one that it is, or the first."""
    others = [one for one in kind.types if not isinstance(one, inspect.NoneType)]
    if value is None and len(others) < len(kind.types):
        return []
    first, *rest = (functools.partial(_faults, one, value, key) for one in others)
    found = list(first())
    return found if found and all(any(each()) for each in rest) else []


def _object_faults(
    kind: inspect.DataclassType | inspect.TypedDictType, value: object, key: str
) -> Iterator[str]:
    if not isinstance(value, dict):
        yield _wrong_type(key, "a table", value)
        return
    fields = {field.encode_name: field for field in kind.fields}
    rest = getattr(kind.cls, "__further__", None)
    for name in value:
        if name not in fields and rest is None:
            yield f"unknown key '{_join(key, name)}'; {did_you_mean(str(name), fields)}"
    for name, field in fields.items():
        if field.required and name not in value:
            yield f"missing key '{_join(key, name)}'"
    for name, item in value.items():
        if name in fields:
            yield from _faults(fields[name].type, item, _join(key, name))
        elif rest is not None:
            yield from _faults(_kind(rest), item, _join(key, name))


def _are_flat(kind: inspect.Type, items: Iterable[Any]) -> bool:
    """Whether all items are right, seen at once: an episode table may have 100,000 rows."""
    if not isinstance(kind, inspect.DataclassType) or not all(
        field.required and isinstance(field.type, inspect.IntType | inspect.StrType)
        for field in kind.fields
    ):
        return False
    if not {*map(type, items)} <= {dict} or not {*map(len, items)} <= {len(kind.fields)}:
        return False  # none is missing, or the next step sees it: so one more would be unknown
    try:
        msgspec.convert(items, list[kind.cls])  # type: ignore[name-defined]
    except msgspec.ValidationError:
        return False
    return True


def _leaf_fault(kind: Any, value: object, key: str) -> str | None:
    if isinstance(kind, inspect.LiteralType):
        if any(value == one and type(value) is type(one) for one in kind.values):
            return None
        return f"'{key}' is {_short(value)}; {did_you_mean(str(value), map(str, kind.values))}"
    wanted, types = NAMES[type(kind)]
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        return _wrong_type(key, wanted, value)
    if isinstance(value, str):
        if kind.pattern and not re.search(kind.pattern, value):
            return f"'{key}' must look like {kind.pattern}, not {_short(value)}"
        if len(value) < (kind.min_length or 0):
            return f"'{key}' must not be empty"
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if not (isinstance(kind, inspect.IntType) or -LARGEST < value < LARGEST):
            return f"'{key}' must be a number that can be computed with, not {_short(value)}"
        if wrong := _out_of_range(kind, value):
            return f"'{key}' must {wrong}, not {_short(value)}"
    return None


def _out_of_range(kind: Any, value: float) -> str | None:
    """The range of a kind of number in words, if a value does not lie in it."""
    least, above, most, below = kind.ge, kind.gt, kind.le, kind.lt
    too_low = (least is not None and value < least) or (above is not None and value <= above)
    too_high = (most is not None and value > most) or (below is not None and value >= below)
    if not (too_low or too_high):
        return None
    low, high = (least if above is None else above), (most if below is None else below)
    if low is not None and high is not None:
        return f"lie between {_plain(low)} and {_plain(high)}"
    if low is not None:
        return f"be {'at least' if above is None else 'above'} {_plain(low)}"
    assert high is not None
    return f"be {'at most' if below is None else 'below'} {_plain(high)}"


def _plain(number: float) -> str:
    return str(int(number)) if math.isfinite(number) and number == int(number) else str(number)


def _wrong_type(key: str, wanted: str, value: object) -> str:
    return f"{f"'{key}'" if key else 'the document'} must be {wanted}, not {_short(value)}"


def _short(value: object) -> str:
    """A value for one line; Python writes no integer of thousands of digits."""
    try:
        text = repr(value)
    except ValueError:
        return "a number of thousands of digits"
    return text if len(text) <= 80 else f"{text[:80]}..."


def _join(key: str, name: object) -> str:
    return f"{key}.{name}" if key else str(name)
