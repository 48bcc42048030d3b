"""Command-line flags to a frozen dataclass, with draccus, every mistake in one line."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import draccus
from draccus.utils import DecodingError

from wmvla.errors import UserError


def parse_flags[T](config: type[T], arguments: Sequence[str], program: str) -> T:
    """The configuration that ``arguments`` such as ``--dataset.root=DIR`` give; a switch may stand
    without ``=true``. UserError: an unknown flag or a value of another type. SystemExit: ``--help``
    was printed."""
    switches = {f"--{field.name}" for field in fields(config) if field.type is bool}  # type: ignore[arg-type]
    given = [
        f"{word}=true" if word in switches and not _has_value(arguments, place) else word
        for place, word in enumerate(arguments)
    ]
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            return draccus.parse(config, args=given, prog=program)
    except SystemExit as ended:
        if not ended.code:
            raise
        message = printed.getvalue().strip().splitlines()[-1].removeprefix(f"{program}: error: ")
    except (DecodingError, OSError) as error:
        message = " ".join(str(error).split())
    raise UserError(f"{message} (see {program} --help)")


def _has_value(arguments: Sequence[Any], place: int) -> bool:
    return place + 1 < len(arguments) and not arguments[place + 1].startswith("--")
