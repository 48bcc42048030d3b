"""JSON files of a run directory that may not be there."""

import json
from pathlib import Path
from typing import Any

from wmvla.errors import UserError


def read_object(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None where there is no file. UserError where it is damaged or something else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(found, dict):
        raise UserError(f"{path}: must be a JSON object")
    return found
