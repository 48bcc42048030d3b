"""JSON files of a run directory that may not be there."""

from pathlib import Path
from typing import Any

from bench.formats.strict_json import NotStrictError, parse
from wmvla.errors import UserError


def read_object(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file, if there is one. UserError if it is damaged or something else."""
    try:
        found = parse(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except NotStrictError as error:
        raise UserError(f"{path}: {error}") from None
    if not isinstance(found, dict):
        raise UserError(f"{path}: must be a JSON object")
    return found
