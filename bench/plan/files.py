"""``plan.json``: written once, and believed only if it is whole."""

from pathlib import Path
from typing import Any

from bench.formats.strict_json import NotStrictError, parse
from bench.plan.consistency import contradiction
from bench.plan.document import PLAN_FILE, PLAN_VERSION, Plan
from wmvla.documents import build
from wmvla.errors import UserError, answer_of_system
from wmvla.files import write_json


def write_plan(plan: Plan, run_dir: Path) -> Path:
    """Write plan.json atomically, unless an equal one is there. UserError if it is another plan."""
    path = run_dir / PLAN_FILE
    if path.exists():
        found = load_plan(run_dir)
        if found.hash != plan.hash:
            raise UserError(
                f"{path}: run directory of another plan ({found.run_name}, wanted {plan.run_name});"
                " choose another directory"
            )
        return path
    write_json(path, plan.to_json())
    return path


def load_plan(run_dir: Path) -> Plan:
    """The plan of a run directory. UserError where there is none, or where it was changed."""
    path = Path(run_dir) / PLAN_FILE
    try:
        data = parse(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{run_dir}: not a run directory (it has no {PLAN_FILE})") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {answer_of_system(error)}") from None
    except NotStrictError as error:
        raise UserError(f"{path}: {error}") from None
    return plan_from_json(data, str(path))


def plan_from_json(data: dict[str, Any], file: str = PLAN_FILE) -> Plan:
    """The plan in `Plan.to_json`'s document. UserError: a wrong hash, or a contradiction."""
    if not isinstance(data, dict) or "hash" not in data:
        raise UserError(f"{file}: missing key 'hash'")
    if data.get("version") != PLAN_VERSION:
        raise UserError(
            f"{file}: 'version' is {data.get('version')!r}, this program reads {PLAN_VERSION}"
        )
    plan = build(Plan, {key: value for key, value in data.items() if key != "hash"}, file)
    if plan.hash != data["hash"]:
        raise UserError(
            f"{file}: its content does not match its 'hash'; it was changed after it was written"
        )
    if wrong := contradiction(plan):
        raise UserError(f"{file}: {wrong}; it was changed after it was written")
    return plan
