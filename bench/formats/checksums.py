"""SHA-256 sums of what a run made, kept in records, for `wmbench verify` to compare files with.

A record says under which plan and provenance it was made, what its artefacts were and which
checkpoint it began from; and it carries a sum over itself: a chain back to the plan.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.formats.strict_json import read_object
from wmvla.files import sha256_of_file

OWN = "sha256"
"""Key of a document's sum over the rest of it."""
BEGAN_WITH = ("plan.json", "provenance.json")


def sha256_of(path: Path) -> str:
    """Of a file's bytes; of a folder over a line ``<sum>  <path in it>`` for each visible file, as
    ``sha256sum`` prints it. Links are followed. OSError if something cannot be read."""
    if path.is_file():
        return sha256_of_file(path)
    inside = {file.relative_to(path): file for file in path.rglob("*") if file.is_file()}
    files = {
        name.as_posix(): file
        for name, file in inside.items()
        if not any(part.startswith(".") for part in name.parts)
    }
    if not files:
        raise FileNotFoundError(2, "No such file, or an empty folder", str(path))
    return sha256_of_lines({name: sha256_of(file) for name, file in files.items()})


def sha256_of_lines(sums: Mapping[str, str]) -> str:
    """SHA-256 over the lines ``<sum>  <path>`` in order of the paths."""
    lines = "".join(f"{sums[path]}  {path}\n" for path in sorted(sums))
    return hashlib.sha256(lines.encode()).hexdigest()


def signed(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with a sum over the rest of it."""
    return {**document, OWN: _own(document)}


def is_intact(document: Mapping[str, Any]) -> bool:
    """Whether a `signed` document is what it was when it was signed."""
    return document.get(OWN) == _own(document)


def sums_of(run_dir: Path, artefacts: Mapping[str, Path], needs: Sequence[str]) -> dict[str, Any]:
    """What the record of a case keeps: ``files`` in the run directory by path, artefacts
    ``outside`` of it by name, and the sum of the ``checkpoint`` that it began from, if any."""
    top = run_dir.resolve()
    files = {name: run_dir / name for name in BEGAN_WITH if (run_dir / name).is_file()}
    outside = {}
    for name, path in artefacts.items():
        if path.resolve().is_relative_to(top):
            files[path.resolve().relative_to(top).as_posix()] = path
        else:
            outside[name] = path
    records = (read_object(run_dir / "cases" / f"{need}.json") or {} for need in needs)
    return {
        "files": {name: sha256_of(path) for name, path in files.items()},
        "outside": {name: sha256_of(path) for name, path in outside.items()},
        "checkpoint": next(filter(None, map(checkpoint_made, records)), None),
    }


def checkpoint_made(record: Mapping[str, Any]) -> str | None:
    """The sum of the checkpoint that a case made, by its record; None without, and of old ones."""
    sums = record.get("sums") or {"files": {}, "outside": {}}
    inside = [value for path, value in sums["files"].items() if path.startswith("checkpoints/")]
    found: str | None = next(iter(inside), sums["outside"].get("checkpoint"))
    return found


def _own(document: Mapping[str, Any]) -> str:
    """Non-obvious: over canonical JSON and not over the bytes, which hold the sum itself."""
    rest = {key: value for key, value in document.items() if key != OWN}
    canonical = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
