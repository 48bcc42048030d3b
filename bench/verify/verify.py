"""Verifies a run directory: schemas, sums, rows, records against their artefacts, and reports."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.judge.missing import missing_episodes
from bench.plan.document import PLAN_FILE, Plan
from bench.plan.files import plan_from_json
from bench.record.controls import Controls
from bench.record.forms import Provenance, problems
from bench.verify.attestation import attestation_of
from bench.verify.damage import Damage, Findings
from bench.verify.journals import check_journals
from bench.verify.manifest import EVIDENCE, MANIFEST, REPORTS, seal_of
from bench.verify.records import Records, check_images, check_replays, check_trainings, read_records
from bench.verify.reports import check_reports
from bench.verify.sums import check_manifest, check_record_sums
from wmvla.errors import UserError
from wmvla.rollout.journal import Row

State = Literal["sealed", "not sealed", "unfinished", "unknown"]
"""Finished with or without a manifest, or not finished; unknown if the plan cannot be read."""


@dataclass(frozen=True)
class Verified:
    run: str
    state: State
    seal: str | None
    """Over the evidence as it lies there; None where it cannot be read."""
    attestation: str
    """What is to be said of GitHub's attestation, in one sentence."""
    damages: tuple[Damage, ...]
    notes: tuple[str, ...]
    checked: tuple[str, ...]


def verify(run_dir: Path, seal: str | None = None, templates: Path | None = None) -> Verified:
    """Look at all that a run directory holds; `templates` made its reports, `seal`: as published.
    UserError if `run_dir` is no run directory, or the reports were made with other `templates`."""
    if not (run_dir / PLAN_FILE).exists() and not (run_dir / MANIFEST).exists():
        raise UserError(f"{run_dir}: not a run directory (it has no {PLAN_FILE})")
    found = Findings(run_dir)
    manifest = check_manifest(found)
    plan = _read_plan(found)
    state: State = "unknown"
    if plan is not None:
        if manifest and manifest["plan_hash"] != plan.hash:
            sealed = manifest["plan_hash"][:12]
            found.damage(MANIFEST, f"'plan_hash' is {sealed}..., the plan's is {plan.hash[:12]}...")
        records = read_records(found, plan)
        rows = check_journals(found, plan, records)
        check_trainings(found, plan, records)
        check_replays(found, plan, records)
        check_images(found, _check_others(found), records)
        check_record_sums(found, plan, records)
        state = _state(found, plan, records, rows, manifest)
        _look_at_reports(found, state, manifest, templates)
    now = _check_seal(found, seal)
    run = plan.run_name if plan else run_dir.name
    said = attestation_of(run_dir)
    outcome = tuple(found.damages), tuple(found.notes), tuple(found.checked)
    return Verified(run, state, now, said, *outcome)


def _read_plan(found: Findings) -> Plan | None:
    document = found.read(PLAN_FILE)
    if document is None:
        return None
    try:
        plan = plan_from_json(document, PLAN_FILE)
    except UserError as error:
        found.damage(PLAN_FILE, str(error).removeprefix(f"{PLAN_FILE}: "))
        return None
    found.checked.append("the plan against its hash")
    return plan


def _check_others(found: Findings) -> dict[str, Any]:
    """The provenance; empty where there is none, or it is damaged."""
    good = {}
    for name, form in (("provenance", Provenance), ("controls", Controls)):
        file = f"{name}.json"
        document = found.read(file) if (found.run_dir / file).exists() else None
        if document is not None:
            good[name] = document
            for problem in problems(form, document):
                found.damage(file, problem)
                good.pop(name, None)
    return good.get("provenance", {})


def _state(
    found: Findings,
    plan: Plan,
    records: Records,
    rows: dict[str, list[Row]],
    manifest: dict[str, Any] | None,
) -> State:
    """How far the run is; notes what is not there: the manifest, or what is still to do."""
    missing = missing_episodes(plan, rows)
    undone = [case.id for case in plan.cases if case.id not in records]
    if manifest is not None:
        return "sealed"
    if (found.run_dir / MANIFEST).exists():
        return "unknown"
    if undone or missing:
        episodes = sum(map(len, missing.values()))
        found.notes.append(
            f"unfinished: {len(undone)} of {len(plan.cases)} cases are not done, {episodes}"
            " episodes are missing; what is done was checked"
        )
        return "unfinished"
    reported = any((found.run_dir / name).exists() for name in REPORTS)
    if reported and all("sums" in record for record in records.values()):
        what = "missing, and the run is finished and has a report; wmbench report writes both"
        found.damage(MANIFEST, what)
    else:
        found.notes.append(
            f"not sealed: there is no {MANIFEST}; files without a checksum in a record were not "
            "compared with anything"
        )
    return "not sealed"


def _look_at_reports(
    found: Findings, state: State, manifest: dict[str, Any] | None, templates: Path | None
) -> None:
    if state == "unfinished":
        if any((found.run_dir / name).exists() for name in REPORTS):
            found.notes.append(
                "the reports are of a run that was not finished: they were not compared"
            )
        return
    broken = sorted({each.file for each in found.damages if each.file.startswith(EVIDENCE)})
    if broken:
        shown = ", ".join(broken[:3]) + (" and others" if len(broken) > 3 else "")
        found.notes.append(
            f"the reports were not made again: what they are made from is damaged ({shown})"
        )
        return
    check_reports(found, manifest, templates)


def _check_seal(found: Findings, said: str | None) -> str | None:
    try:
        now = seal_of(found.run_dir)
    except OSError:
        return None
    if said is not None and said != now:
        what = f"is {now}, not {said}: some of the evidence is not what was sealed"
        found.damage("the seal", what)
    return now
