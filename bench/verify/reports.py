"""Whether the reports say what the evidence gives: they are made again, and compared byte for byte, or number by number."""

import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.report.write import write_report
from bench.verify.damage import Findings
from bench.verify.manifest import REPORTS, program_sha256
from bench.verify.schemas import problems
from wmvla.errors import UserError

ROUNDING = 2e-9
"""Numbers in report.json are rounded to 9 places; another processor may round the last one otherwise."""
NAMES = ("id", "rollout", "case", "suite", "figure", "seed", "task", "index")
"""Keys that tell which entries of two lists belong together."""
MOST = 20
"""Differences of one report that are named."""


def check_reports(found: Findings, manifest: dict[str, Any] | None) -> None:
    """Make the reports of a finished run again from its evidence, and compare.

    By this very version of the program every byte must be the same. Of another version, or of one that is not recorded, only
    the numbers of report.json can be compared, where both have them.
    """
    there = [name for name in REPORTS if (found.run_dir / name).is_file()]
    for name in REPORTS:
        if name not in there:
            found.notes.append(f"{name} is not here: wmbench report makes it")
    if not there:
        return
    made = rebuild(found)
    if made is None:
        return
    differing = [name for name in there if (found.run_dir / name).read_bytes() != made[name]]
    same_program = manifest is not None and manifest["program_sha256"] == program_sha256()
    found.checked.append(f"{len(there) - len(differing)} of {len(there)} reports made again, byte for byte")
    if not differing:
        return
    if not same_program:
        by = "another version of this program" if manifest else "a version of this program that is not recorded"
        found.notes.append(f"{', '.join(differing)}: written by {by}; of them only the numbers of report.json were compared")
    if "report.json" in differing:
        _compare_json(found, made["report.json"], same_program)
    if same_program:
        for name in differing:
            if name != "report.json":
                _compare_text(found, name, made[name])


def rebuild(found: Findings) -> dict[str, bytes] | None:
    """The reports as this program makes them from the files of the run directory, by name; None, and a damage, where it cannot.

    Non-obvious: they are made in a folder of links to those files, so that nothing is written into the run directory.
    """
    with tempfile.TemporaryDirectory(prefix="wmbench-verify-") as folder:
        shadow = Path(folder)
        for path in found.run_dir.resolve().iterdir():
            if path.name not in REPORTS:
                (shadow / path.name).symlink_to(path)
        try:
            write_report(shadow)
        except UserError as error:
            found.damage("report.json", f"cannot be made again: {str(error).replace(f'{shadow}/', '')}")
            return None
        return {name: (shadow / name).read_bytes() for name in REPORTS}


def _compare_json(found: Findings, made: bytes, same_program: bool) -> None:
    """Damages of report.json, by the place in it."""
    written, again = found.read("report.json"), json.loads(made)
    if written is None:
        return
    if same_program:
        for problem in problems(written, "report"):
            found.damage("report.json", problem)
    differences = list(_differences(written, again, "", numbers_only=not same_program))
    for difference in differences[:MOST]:
        found.damage("report.json", difference)
    if len(differences) > MOST:
        found.damage("report.json", f"{len(differences) - MOST} more differences")
    if same_program and not differences:
        found.notes.append("report.json differs from what is made here in the last digits or in its layout alone")


def _differences(written: Any, again: Any, place: str, numbers_only: bool) -> Iterator[str]:
    """Where two JSON documents differ, the place first."""
    if isinstance(written, dict) and isinstance(again, dict):
        for key in [*written, *(key for key in again if key not in written)]:
            inner = f"{place}.{key}" if place else key
            if key in written and key in again:
                yield from _differences(written[key], again[key], inner, numbers_only)
            elif not numbers_only:
                yield f"'{inner}': {'stands there, and recomputed there is none' if key in written else 'is missing'}"
    elif isinstance(written, list) and isinstance(again, list):
        yield from _list_differences(written, again, place, numbers_only)
    elif _is_number(written) and _is_number(again):
        if abs(written - again) > ROUNDING:
            yield f"'{place}': it says {written!r}, recomputed it is {again!r}"
    elif written != again and (not numbers_only or _is_number(written) or _is_number(again)):
        yield f"'{place}': it says {_short(written)}, recomputed it is {_short(again)}"


def _list_differences(written: list[Any], again: list[Any], place: str, numbers_only: bool) -> Iterator[str]:
    others = dict(zip(_names(again), again, strict=True))
    for name, item in zip(_names(written), written, strict=True):
        if name in others:
            yield from _differences(item, others.pop(name), f"{place}[{name}]", numbers_only)
        else:
            yield f"'{place}[{name}]': stands there, and recomputed there is none"
    for name in others:
        yield f"'{place}[{name}]': is missing"


def _names(items: list[Any]) -> list[str]:
    """What each item of a list is called; the second of one name is ``name (2)``."""
    seen: Counter[str] = Counter()
    names = []
    for number, item in enumerate(items):
        name = _name(item, number)
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return names


def _name(item: Any, number: int) -> str:
    if isinstance(item, dict):
        parts = [str(item[key]) for key in NAMES if key in item and not isinstance(item[key], dict | list)]
        return " ".join(parts) or str(number)
    return str(number)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def _compare_text(found: Findings, name: str, made: bytes) -> None:
    """The first line of a report that is not as it is made again."""
    written, again = (found.run_dir / name).read_bytes().splitlines(), made.splitlines()
    pairs = enumerate(zip(written, again, strict=False), start=1)
    number = next((number for number, (one, other) in pairs if one != other), min(len(written), len(again)) + 1)
    line = written[number - 1].decode(errors="replace") if number <= len(written) else ""
    found.damage(name, f"line {number} is not what the evidence gives: {_short(line.strip())}")
