"""SHA-256 sums of what a run made, kept in the record of the case that made it: what `wmbench
verify` holds files against.

A record says which plan and provenance it was made under, what its artefacts were when it ended,
and which checkpoint it began from; and it carries a sum over itself. So records and artefacts form
a chain back to the plan.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.formats.json_file import read_object

OWN = "sha256"
"""Key of a document's sum over the rest of it."""
BEGAN_WITH = ("plan.json", "provenance.json")


def sha256_of(path: Path) -> str:
    """Of a file's bytes; of a folder over a line ``<sum>  <path in it>`` for each of its files, as
    ``sha256sum`` prints them.

    Links are followed. OSError where something cannot be read.
    """
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    files = {file.relative_to(path).as_posix(): file for file in path.rglob("*") if file.is_file()}
    if not files:
        raise FileNotFoundError(2, "No such file, or an empty folder", str(path))
    return sha256_of_lines({name: sha256_of(file) for name, file in files.items()})


def sha256_of_lines(sums: Mapping[str, str]) -> str:
    """SHA-256 over the lines ``<sum>  <path>`` in order of the paths."""
    return hashlib.sha256(
        "".join(f"{sums[path]}  {path}\n" for path in sorted(sums)).encode()
    ).hexdigest()


def signed(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with a sum over the rest of it."""
    return {**document, OWN: _own(document)}


def is_intact(document: Mapping[str, Any]) -> bool:
    """Whether a `signed` document is what it was when it was signed."""
    return document.get(OWN) == _own(document)


def sums_of(run_dir: Path, artefacts: Mapping[str, Path], needs: Sequence[str]) -> dict[str, Any]:
    """What the record of a case keeps: ``files`` in the run directory by path, artefacts
    ``outside`` of it by name, and the sum of the ``checkpoint`` that it began from, None where
    there is none."""
    top = run_dir.resolve()
    inside = {
        path.resolve().relative_to(top).as_posix(): path
        for path in artefacts.values()
        if _lies_in(path, top)
    }
    began_with = {name: run_dir / name for name in BEGAN_WITH if (run_dir / name).is_file()}
    made = [
        checkpoint_made(read_object(run_dir / "cases" / f"{need}.json") or {}) for need in needs
    ]
    return {
        "files": {name: sha256_of(path) for name, path in {**began_with, **inside}.items()},
        "outside": {
            name: sha256_of(path) for name, path in artefacts.items() if not _lies_in(path, top)
        },
        "checkpoint": next(filter(None, made), None),
    }


def checkpoint_made(record: Mapping[str, Any]) -> str | None:
    """The sum of the checkpoint that a case made, as its record says; None of a case without one,
    and of older records."""
    sums = record.get("sums") or {"files": {}, "outside": {}}
    inside = [value for path, value in sums["files"].items() if path.startswith("checkpoints/")]
    found: str | None = next(iter(inside), sums["outside"].get("checkpoint"))
    return found


def _lies_in(path: Path, top: Path) -> bool:
    return path.resolve().is_relative_to(top)


def _own(document: Mapping[str, Any]) -> str:
    """Non-obvious: over canonical JSON and not over the bytes, which hold the sum itself."""
    rest = {key: value for key, value in document.items() if key != OWN}
    return hashlib.sha256(
        json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()
    ).hexdigest()
