"""Whether the files of a run directory have the sums in its manifest and its records."""

from pathlib import Path
from typing import Any

from bench.formats.checksums import checkpoint_made, is_intact, sha256_of, sha256_of_lines
from bench.plan.document import Plan
from bench.record.forms import Manifest, problems
from bench.verify.damage import Findings
from bench.verify.manifest import EVIDENCE, MANIFEST, files_of, foreign_files

LEFT_OUT = ("checkpoints/", "jobs/", "logs/", "slurm/", "videos/")
"""What `wmbench pack` and `pull` leave behind, and films, which are large: whole folders only."""


def check_manifest(found: Findings) -> dict[str, Any] | None:
    """Compare every file with the manifest: what differs is named. None if it cannot be read."""
    if not (found.run_dir / MANIFEST).exists():
        return None
    manifest = found.read(MANIFEST)
    if manifest is None:
        return None
    wrong = list(problems(Manifest, manifest))
    for problem in wrong:
        found.damage(MANIFEST, problem)
    if wrong:
        return None
    if not is_intact(manifest):
        found.damage(MANIFEST, "changed after it was written: it does not match its own checksum")
    entries = manifest["files"]
    sums = {name: entry["sha256"] for name, entry in entries.items() if name.startswith(EVIDENCE)}
    if sha256_of_lines(sums) != manifest["seal"]:
        found.damage(MANIFEST, "'seal': does not match the files that it lists")
    _compare(found, entries)
    found.checked.append(f"{len(entries)} files against manifest.json")
    return dict(manifest)


def _compare(found: Findings, entries: dict[str, dict[str, Any]]) -> None:
    files = files_of(found.run_dir)
    left_out = [folder for folder in LEFT_OUT if not (found.run_dir / folder).exists()]
    for name, entry in entries.items():
        if any(name.startswith(folder) for folder in left_out):
            continue
        path = found.run_dir / name
        if not path.is_file():
            found.damage(name, "missing: manifest.json has a checksum of it")
            continue
        size, digest = path.stat().st_size, sha256_of(path)
        if size != entry["bytes"]:
            found.damage(name, f"changed after it was sealed: {size} bytes, not {entry['bytes']}")
        elif digest != entry["sha256"]:
            what = f"its checksum is {digest[:12]}..., not {entry['sha256'][:12]}..."
            found.damage(name, f"changed after it was sealed: {what}")
    for name in files:
        if name not in entries:
            what = "manifest.json has no checksum of it; if it is yours, wmbench report adds it"
            found.damage(name, f"unknown: {what}")
    foreign = [name for name in foreign_files(found.run_dir) if name not in entries]
    if foreign:
        found.notes.append(f"not files of a run, so not checked: {', '.join(foreign)}")
    for folder in left_out:
        number = sum(name.startswith(folder) for name in entries)
        if number:
            found.notes.append(
                f"{folder} is not here ({number} files): their checksums are in manifest.json, "
                "but nothing was compared"
            )


def check_record_sums(found: Findings, plan: Plan, records: dict[str, dict[str, Any]]) -> None:
    """Compare the sums in each record with the files, the record itself and the checkpoints."""
    compared, absent = 0, 0
    old = [case_id for case_id, record in records.items() if "sums" not in record]
    for case_id, record in records.items():
        name = f"cases/{case_id}.json"
        if "sums" not in record:
            continue
        if not is_intact(record):
            found.damage(name, "changed after it was written: it does not match its own checksum")
        for file, expected in record["sums"]["files"].items():
            if file.startswith(LEFT_OUT) and not (found.run_dir / file).exists():
                absent += 1
                continue
            compared += 1
            _hold(found, file, found.run_dir / file, expected, case_id)
        for artefact, expected in record["sums"]["outside"].items():
            compared += _note_outside(found, record["artefacts"].get(artefact), expected, case_id)
        _check_began_from(found, plan, records, case_id)
    if old:
        found.notes.append(
            f"{len(old)} of {len(records)} records have no checksums: they were written before "
            "checksums were added"
        )
    absence = f" ({absent} things are not here)" if absent else ""
    found.checked.append(f"{compared} checksums of {len(records)} records{absence}")


def _hold(found: Findings, file: str, path: Path, expected: str, case_id: str) -> None:
    try:
        digest = sha256_of(path)
    except OSError as error:
        found.damage(file, f"cannot be read, but {case_id} made it: {error.strerror}")
        return
    if digest != expected:
        what = f"its checksum is {digest[:12]}..., not {expected[:12]}..."
        found.damage(file, f"changed after {case_id} ended: {what}")


def _note_outside(found: Findings, artefact: str | None, expected: str, case_id: str) -> bool:
    """Whether an artefact outside of the run directory could be compared. Non-obvious: the cache is
    no part of the run. Another run may have made it again, and otherwise."""
    path = found.run_dir.resolve().parent.parent / Path(artefact or "").expanduser()
    if artefact is None or not path.exists():
        return False
    if sha256_of(path) != expected:
        found.notes.append(
            f"{artefact} is not what {case_id} made or used: it was made again or changed since"
        )
    return True


def _check_began_from(
    found: Findings, plan: Plan, records: dict[str, dict[str, Any]], case_id: str
) -> None:
    """The checkpoint that a case began from is the one that the case before it has made."""
    file, began_from = f"cases/{case_id}.json", records[case_id]["sums"]["checkpoint"]
    for need in plan.case(case_id).needs:
        made = checkpoint_made(records.get(need, {}))
        if made and began_from != made:
            found_one = f"checkpoint {began_from[:12]}..." if began_from else "no checkpoint"
            what = f"it started from {found_one}, but {need} made {made[:12]}..."
            found.damage(file, f"'sums.checkpoint': {what}")
