"""``manifest.json``: the sums of all files of a finished run, and the seal over its evidence.

Written with the report of a finished run; a file that changes later no longer matches. The *seal*
is one SHA-256 over the evidence that a verdict rests on: who publishes it can be held to it.
"""

import functools
import hashlib
import os
from pathlib import Path
from typing import Any

from bench.formats.checksums import is_intact, sha256_of, sha256_of_lines, signed
from bench.formats.strict_json import NotStrictError, parse, read_object
from bench.host.folders import CODE
from bench.record.forms import Manifest, problems
from bench.record.run import THROUGHPUT
from wmvla.errors import UserError, answer_of_system
from wmvla.files import write_json

MANIFEST = "manifest.json"
ATTESTATION = "attestation.json"
"""GitHub's, of the manifest and the report."""
BESIDE = (MANIFEST, ATTESTATION)
"""What belongs to a run and is in no sum of it."""
VERSION = 1
REPORTS = ("report.html", "report.json", "report.md")
FILES = {*REPORTS, "plan.json", "provenance.json", "controls.json", "throughput.json"}
SUFFIXES = {
    "cases": ".json",
    "failures": ".json",
    "imported": ".json",
    "episodes": ".jsonl",
    "metrics": ".jsonl",
    "replays": ".jsonl",
}
"""By folder, the end of its files' names."""
ANY_NAME = frozenset({"checkpoints", "jobs", "logs", "slurm", "videos"})
"""Folders whose files may have any name."""
EVIDENCE = (
    "plan.json",
    "provenance.json",
    "controls.json",
    THROUGHPUT,
    "cases/",
    "episodes/",
    "metrics/",
    "replays/",
)
"""What a report is made from: files, and folders."""
WORKING = (
    "controls.json",
    THROUGHPUT,
    "failures/",
    "logs/",
    "jobs/",
    "slurm/",
    "videos/",
    "checkpoints/",
)
"""What a run that goes on may write again without a record that vouches for it."""
ONCE = ("plan.json", "provenance.json")

Entries = dict[str, dict[str, Any]]
"""``bytes`` and ``sha256`` by path."""


def belongs(name: str) -> bool:
    """Whether a file is the run's; `name`: its path in the run directory, with ``/``."""
    folder, *rest = parts = name.split("/")
    if any(part.startswith(".") for part in parts):
        return False
    if not rest:
        return name in FILES
    fitting = folder in SUFFIXES and len(rest) == 1 and name.endswith(SUFFIXES[folder])
    return folder in ANY_NAME or fitting


def files_of(run_dir: Path) -> dict[str, Path]:
    """The run's files by their path in the run directory, in order, but for `BESIDE`."""
    return {name: path for name, path in _visible_files(run_dir).items() if belongs(name)}


def foreign_files(run_dir: Path) -> list[str]:
    """What lies in a run directory, is not hidden, and belongs to no run, in order."""
    return [name for name in _visible_files(run_dir) if not belongs(name) and name not in BESIDE]


def _visible_files(run_dir: Path) -> dict[str, Path]:
    found, top = {}, os.fspath(run_dir)
    for folder, folders, names in os.walk(top):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inside = "" if folder == top else f"{folder[len(top) :].strip(os.sep)}/"
        for name in names:
            path = Path(folder, name)
            if not name.startswith(".") and path.is_file():
                found[f"{inside}{name}"] = path
    return dict(sorted(found.items()))


def seal_of(run_dir: Path) -> str:
    """SHA-256 over the evidence, as ``sha256sum`` prints it, in order of the paths."""
    evidence = (each for each in files_of(run_dir).items() if each[0].startswith(EVIDENCE))
    return sha256_of_lines({name: sha256_of(path) for name, path in evidence})


def write_manifest(run_dir: Path, ran: bool) -> str | None:
    """Seal a finished run whose report was just written: its seal; None, unwritten, of another.

    Non-obvious: to write a report must not bless a damage. What the manifest says of a file stays
    as it was, unless the file is a report, or its case's record is intact and vouches for it, or a
    run has just ended here (``ran``) and may have written it.
    """
    report = read_object(run_dir / "report.json") or {}
    if not (report["complete"] and all(stage["done"] for stage in report["stages"])):
        return None
    before, vouched = _entries_before(run_dir), _vouched(run_dir)
    may_change = (*REPORTS, *WORKING) if ran else REPORTS
    entries = {name: entry for name, entry in before.items() if not name.startswith(may_change)}
    for name, path in files_of(run_dir).items():
        kept = entries.get(name)
        if kept is None or (name not in ONCE and name in vouched):
            entry = {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
            if kept is None or entry["sha256"] == vouched[name]:
                entries[name] = entry
    seal = sha256_of_lines(
        {name: entry["sha256"] for name, entry in entries.items() if name.startswith(EVIDENCE)}
    )
    content = {
        "version": VERSION,
        "run": report["run"],
        "plan_hash": report["plan_hash"],
        "program_sha256": program_sha256(),
        "seal": seal,
        "files": dict(sorted(entries.items())),
    }
    write_json(run_dir / MANIFEST, signed(content))
    return seal


@functools.cache
def program_sha256() -> str:
    """SHA-256 over the sources, templates and settings of ``bench``, which make reports."""
    digest = hashlib.sha256()
    suffixes = ("py", "j2", "css", "js", "toml")
    for path in sorted(path for one in suffixes for path in (CODE / "bench").rglob(f"*.{one}")):
        digest.update(f"{sha256_of(path)}  {path.relative_to(CODE).as_posix()}\n".encode())
    return digest.hexdigest()


def _entries_before(run_dir: Path) -> Entries:
    """What an earlier manifest says. UserError if it is damaged: a new one would hide that."""
    path = run_dir / MANIFEST
    try:
        found = parse(path.read_bytes())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {answer_of_system(error)}") from None
    except NotStrictError as error:
        raise UserError(
            f"{path}: {error}; find out why, then remove it and give the command again"
        ) from None
    if next(problems(Manifest, found), None) or not is_intact(found):
        raise UserError(
            f"{path}: changed after it was written; find out why, then remove it and give the"
            " command again"
        )
    entries: Entries = found["files"]
    return entries


def _vouched(run_dir: Path) -> dict[str, str]:
    """Sums by path that intact records give: of their artefacts, and of themselves."""
    found: dict[str, str] = {}
    for path in sorted((run_dir / "cases").glob("[!.]*.json")):
        record = read_object(path) or {}
        if is_intact(record):
            found |= record.get("sums", {}).get("files", {})
            found[f"cases/{path.name}"] = sha256_of(path)
    return found
