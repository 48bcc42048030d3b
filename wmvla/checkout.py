"""The code that runs is that of the environment it is started from.

Non-obvious: an environment names its checkout by its path, in the first line of every program and
in the link of the editable install. So a copy of both still runs the checkout it was copied from.
"""

import json
import os
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import unquote, urlsplit

from wmvla.errors import UserError

DISTRIBUTION = "lerobot_policy_smolvla_world"
TREE = Path(__file__).resolve().parent.parent


def require_own_code(program: str, tree: Path = TREE) -> None:
    """UserError if ``program``, the path of what was started, or the environment belongs to another
    checkout than ``tree``, which is the code that runs. A wheel has no checkout; a ``tree`` in
    PYTHONPATH is wanted, and every child process finds it too.
    """
    wanted = map(Path, filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))
    if tree in (path.resolve() for path in wanted):
        return
    environment = Path(program).resolve().parent.parent
    prefix = Path(sys.prefix).resolve()
    if (environment / "pyvenv.cfg").is_file() and environment != prefix:
        raise UserError(_refusal(environment.parent, prefix.parent))
    installed = _installed_checkout()
    if installed is not None and installed != tree:
        raise UserError(_refusal(tree, installed))


def _refusal(here: Path, other: Path) -> str:
    return (
        f"{here}: its environment was made for the checkout {other} and would run the code there; "
        f"set it up again: make -C {here} setup"
    )


def _installed_checkout() -> Path | None:
    """The checkout that the environment has linked, if any (PEP 610, ``direct_url.json``)."""
    try:
        text = distribution(DISTRIBUTION).read_text("direct_url.json")
    except PackageNotFoundError:
        return None
    origin = json.loads(text or "{}")
    if not origin.get("dir_info", {}).get("editable"):
        return None
    return Path(unquote(urlsplit(origin["url"]).path)).resolve()
