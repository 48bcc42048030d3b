"""TOML files as nested dicts. `wmvla.documents` makes typed classes of them."""

import tomllib
from pathlib import Path
from typing import Any

from wmvla.errors import UserError, answer_of_system


def read_toml(path: Path) -> dict[str, Any]:
    """The TOML file at `path` as nested dicts. UserError if there is none, or it is not valid."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {answer_of_system(error)}") from None
    except ValueError as error:  # of TOML, of UTF-8, or of a number of thousands of digits
        raise UserError(f"{path}: not valid TOML: {error}") from None
    except RecursionError:
        raise UserError(f"{path}: not valid TOML: nested too deeply") from None
