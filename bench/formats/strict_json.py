"""JSON as its standard has it, which Python's own reader does not demand: no NaN, no infinity, no
key twice, and no number that cannot be computed with."""

import json
from pathlib import Path
from typing import Any

import msgspec

from wmvla.errors import UserError, answer_of_system
from wmvla.files import each_key_once

LARGEST = 1e300
"""No number of a run is as large: sums and products of those below stay finite."""
LONGEST = 2**63
"""No integer is as large: arrays hold those below."""

DIGITS = bytes.maketrans(b"123456789", b"0" * 9)
LONG = b"0" * 19
"""Digits from which on a number may not fit into 64 bits, as `DIGITS` makes them alike."""


class NotStrictError(ValueError):
    """Why a text is not JSON, in a few words."""


def parse(text: bytes) -> Any:
    """The document in a text. `NotStrictError` says where it is wrong."""
    try:
        document = _FAST.decode(text)
        if _is_plain(text, document):
            return document
    except (msgspec.DecodeError, NotStrictError, UnicodeDecodeError, RecursionError):
        pass  # Python's reader says it in its words
    return _parse(text)


def read_object(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file, if there is one. UserError if it is damaged or something else."""
    try:
        found = parse(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {answer_of_system(error)}") from None
    except NotStrictError as error:
        raise UserError(f"{path}: {error}") from None
    if not isinstance(found, dict):
        raise UserError(f"{path}: must be a JSON object")
    return found


def _is_plain(text: bytes, document: Any) -> bool:
    """Whether a text is its document as msgspec writes it, but for white space, and has no long
    number: then it has no key twice, and msgspec, which is three times as fast as Python's reader
    with our questions, has read it as that would."""
    return LONG not in text.translate(DIGITS) and msgspec.json.format(
        text, indent=-1
    ) == msgspec.json.encode(document)


def _parse(text: bytes) -> Any:
    try:
        return json.loads(
            text.decode("utf-8"),
            parse_constant=_refuse,
            parse_float=_float,
            parse_int=_int,
            object_pairs_hook=each_key_once,
        )
    except UnicodeDecodeError as error:
        raise NotStrictError(f"not UTF-8: byte {error.start} is {text[error.start]:#04x}") from None
    except json.JSONDecodeError as error:
        raise NotStrictError(f"not valid JSON: {error}") from None
    except ValueError as error:
        raise NotStrictError(str(error)) from None
    except RecursionError:
        raise NotStrictError("not valid JSON: nested too deeply") from None


def _refuse(constant: str) -> None:
    raise NotStrictError(f"not valid JSON: it contains {constant}")


def _float(text: str) -> float:
    number = float(text)
    if not -LARGEST < number < LARGEST:
        raise NotStrictError(f"the number {text[:40]} is too large")
    return number


def _int(text: str) -> int:
    # Of thousands of digits Python makes no integer.
    if len(text) > 20 or not -LONGEST < (number := int(text)) < LONGEST:
        raise NotStrictError(f"the number {text[:40]} is too large")
    return number


_FAST = msgspec.json.Decoder(float_hook=_float)
