"""Whether the reports say what the evidence gives: made again, and compared by bytes or numbers."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.formats.strict_json import NotStrictError, parse
from bench.record.run import FILM, VIDEOS, films_in
from bench.report.templating import own_sha256
from bench.report.write import as_json, make_reports
from bench.verify.damage import Findings
from bench.verify.manifest import MANIFEST, REPORTS, program_sha256
from wmvla.errors import UserError

ROUNDING = 2e-9
"""report.json rounds numbers to 9 places; another processor may round the last one otherwise."""
NAMES = ("id", "rollout", "case", "suite", "figure", "seed", "task", "index")
"""Keys that say which entries of two lists belong together."""
MOST = 20
"""Differences of one report that are named."""

NOT_AGAIN = "is there, but the recomputed report does not have it"


def check_reports(
    found: Findings, manifest: dict[str, Any] | None, templates: Path | None = None
) -> None:
    """Make the reports of a finished run again from its evidence, and compare.

    By this very version of the program every byte must be the same. Of another version, or of one
    that is not recorded, only the numbers of report.json can be compared, where both have them. So
    it is of report.html and report.md where they were made with a user's own templates, which
    report.json says: they are made again with `templates`, or not at all.

    Raises UserError where `templates` are not those that the reports were made with.
    """
    there = [name for name in REPORTS if (found.run_dir / name).is_file()]
    for name in REPORTS:
        if name not in there:
            found.notes.append(f"{name} is not here: wmbench report makes it")
    if not there:
        return
    made = _made_again(found, manifest, templates)
    if made is None:
        return
    there = [name for name in there if name in made]
    differing = [name for name in there if _bytes(found, name) != made[name]]
    same_program = manifest is not None and manifest["program_sha256"] == program_sha256()
    found.checked.append(
        f"{len(there) - len(differing)} of {len(there)} reports made again, byte for byte"
    )
    if not differing:
        return
    if not same_program:
        by = "another version of this program" if manifest else "a version that is not recorded"
        found.notes.append(
            f"{', '.join(differing)}: written by {by}; of them only the numbers of report.json were"
            " compared"
        )
    if "report.json" in differing:
        _compare_json(found, made["report.json"], same_program)
    for name in differing if same_program else ():
        if name != "report.json":
            _compare_text(found, name, made[name])


def _made_again(
    found: Findings, manifest: dict[str, Any] | None, templates: Path | None
) -> dict[str, bytes] | None:
    """The reports by name, but for those of other templates that are not here; None if impossible.
    Non-obvious: a page links the films that there were. If it is not what today's films give, it is
    made again with those that the manifest lists: a run may be packed or sent without them."""
    made_with = _made_with(found)
    if templates is not None and own_sha256(templates) != made_with:
        by = "with the built-in templates"
        if made_with is not None:
            by = f"with other templates, whose checksum is {made_with[:12]}..."
        raise UserError(
            f"--templates {templates}: the reports of {found.run_dir} were made {by}; give those,"
            " or none"
        )
    made = rebuild(found, templates)
    if made is None:
        return None
    if made_with is not None and templates is None:
        found.notes.append(
            f"report.html and report.md were made with other templates (checksum {made_with[:12]}"
            "...), and were not made again; wmbench verify --templates FOLDER does that"
        )
        return {"report.json": as_json(json.loads(made["report.json"]), made_with)}
    listed, here = _listed_films(manifest), films_in(found.run_dir)
    if manifest and listed != here and _bytes(found, "report.html") != made["report.html"]:
        made = rebuild(found, templates, listed)
        if absent := listed - here:
            found.notes.append(
                f"report.html links films that are not here ({len(absent)}): made again by their"
                f" names in {MANIFEST}"
            )
    return made


def rebuild(
    found: Findings, templates: Path | None = None, films: frozenset[str] | None = None
) -> dict[str, bytes] | None:
    """The reports as this program makes them of the run's files, by name; None, and a damage, if it
    cannot. UserError if `templates` are broken. `films`: names of films that are taken to be in
    ``videos/``, instead of those that are."""
    try:
        return make_reports(found.run_dir, templates, films=films)
    except UserError as error:
        if templates is not None:
            raise
        why = str(error).replace(f"{found.run_dir}/", "")
        found.damage("report.json", f"cannot be made again: {why}")
        return None


def _made_with(found: Findings) -> str | None:
    """The sum of a user's own templates, if report.json says that such were used."""
    try:
        content = parse((found.run_dir / "report.json").read_bytes())
    except (OSError, NotStrictError):
        return None  # a damage, which `_compare_json` names
    own = content.get("templates") if isinstance(content, dict) else None
    return own if isinstance(own, str) else None


def _listed_films(manifest: dict[str, Any] | None) -> frozenset[str]:
    """Names of the films when the run was sealed: report.html links them, wherever they are now."""
    names = (Path(name) for name in (manifest or {}).get("files", {}))
    return frozenset(
        name.name for name in names if name.parent == Path(VIDEOS) and name.match(FILM)
    )


def _bytes(found: Findings, name: str) -> bytes:
    """Of a report; none where it is not there."""
    path = found.run_dir / name
    return path.read_bytes() if path.is_file() else b""


def _compare_json(found: Findings, made: bytes, same_program: bool) -> None:
    """Damages of report.json, by the place in it."""
    written, again = found.read("report.json"), json.loads(made)
    if written is None:
        return
    differences = list(_differences(written, again, "", numbers_only=not same_program))
    for difference in differences[:MOST]:
        found.damage("report.json", difference)
    if len(differences) > MOST:
        found.damage("report.json", f"{len(differences) - MOST} more differences")
    if same_program and not differences:
        found.notes.append(
            "report.json differs from what is made here only in the last digits or in its layout"
        )


def _differences(written: Any, again: Any, place: str, numbers_only: bool) -> Iterator[str]:
    """Where two JSON documents differ, the place first."""
    if isinstance(written, dict) and isinstance(again, dict):
        for key in [*written, *(key for key in again if key not in written)]:
            inner = f"{place}.{key}" if place else key
            if key in written and key in again:
                yield from _differences(written[key], again[key], inner, numbers_only)
            elif not numbers_only:
                yield f"'{inner}': {NOT_AGAIN if key in written else 'is missing'}"
    elif isinstance(written, list) and isinstance(again, list):
        yield from _list_differences(written, again, place, numbers_only)
    elif _is_number(written) and _is_number(again):
        if abs(written - again) > ROUNDING:
            yield f"'{place}': it says {written!r}, recomputed it is {again!r}"
    elif written != again and (not numbers_only or _is_number(written) or _is_number(again)):
        yield f"'{place}': it says {_short(written)}, recomputed it is {_short(again)}"


def _list_differences(
    written: list[Any], again: list[Any], place: str, numbers_only: bool
) -> Iterator[str]:
    others = dict(zip(_names(again), again, strict=True))
    for name, item in zip(_names(written), written, strict=True):
        if name in others:
            yield from _differences(item, others.pop(name), f"{place}[{name}]", numbers_only)
        else:
            yield f"'{place}[{name}]': {NOT_AGAIN}"
    for name in others:
        yield f"'{place}[{name}]': is missing"


def _names(items: list[Any]) -> list[str]:
    """What each item of a list is called; the second of one name is ``name (2)``."""
    seen: Counter[str] = Counter()
    names = []
    for number, item in enumerate(items):
        keys = [key for key in NAMES if key in item] if isinstance(item, dict) else []
        parts = [str(item[key]) for key in keys if not isinstance(item[key], dict | list)]
        name = " ".join(parts) or str(number)
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return names


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def _compare_text(found: Findings, name: str, made: bytes) -> None:
    """The first line of a report that is not as it is made again."""
    written, again = (found.run_dir / name).read_bytes().splitlines(), made.splitlines()
    pairs = enumerate(zip(written, again, strict=False))
    number = next((i for i, pair in pairs if len({*pair}) > 1), min(len(written), len(again))) + 1
    line = written[number - 1].decode(errors="replace") if number <= len(written) else ""
    found.damage(name, f"line {number} is not what the evidence gives: {_short(line.strip())}")
