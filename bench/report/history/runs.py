"""The runs below a folder, each as the few figures of a history; unreadable ones with a reason."""

import dataclasses
import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.compare.speed import costs
from bench.forecast.past_runs import COMMITTED
from bench.judge.verdict import judge
from bench.plan.document import PLAN_FILE
from bench.record.external import FOLDER, PUBLISHED, External, read_externals
from bench.record.run import Run
from bench.wording.verdicts import verdict_sentence
from wmvla.errors import UserError

TRACES = (PLAN_FILE, "provenance.json", "report.json", "cases", "episodes")
"""What makes a folder a run, whole or damaged."""

Content = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    folder: str
    """Relative to the folder of run directories, with ``/``."""
    when: str | None
    """UTC, ISO 8601 to the minute; None if nothing is recorded."""
    suite: str
    scale: str
    machine: str
    plan_hash: str
    content: Content
    """``rates``, ``costs`` and what else `_entry` puts there."""


@dataclass(frozen=True)
class History:
    entries: tuple[Entry, ...]
    """In order of time, those without a time first."""
    unreadable: tuple[tuple[str, str], ...]
    """Folder or file, and why."""
    externals: tuple[External, ...]


def read_history(results: Path) -> History:
    """All runs in `results` and in its ``reference``. UserError where there is no such folder."""
    if not results.is_dir():
        raise UserError(f"{results}: no such folder; give the folder that holds run directories")
    entries, unreadable = [], []
    for folder in sorted([*results.iterdir(), *(results / COMMITTED).glob("*")]):
        if not any((folder / trace).exists() for trace in TRACES):
            continue
        name = folder.relative_to(results).as_posix()
        try:
            entries.append(_entry(folder, name))
        except UserError as error:
            unreadable.append((name, str(error).replace(str(folder), name)))
    try:
        externals = read_externals(results / FOLDER)
    except UserError as error:
        externals = ()
        unreadable.append((FOLDER, str(error).replace(str(results / FOLDER), FOLDER)))
    entries.sort(key=lambda entry: (entry.when or "", entry.folder))
    return History(tuple(entries), tuple(unreadable), (*externals, *read_externals(PUBLISHED)))


def _entry(folder: Path, name: str) -> Entry:
    run = Run(folder)
    plan, verdict = run.plan, judge(run.plan, run.rows)
    ended = [_utc(_text(record["finished_at"])) for record in run.cases.values()]
    first = min((time for time in ended if time), default=None)
    return Entry(
        folder=name,
        when=_utc(_text(run.recorded("collected_at"))) or first,
        suite=plan.suite,
        scale=plan.scale,
        machine=plan.machine.name,
        plan_hash=plan.hash,
        content={
            "decision": verdict.decision,
            "sentence": verdict_sentence(plan, verdict),
            "complete": verdict.complete,
            "rates": [
                {
                    "rollout": rate.rollout,
                    "rate": rate.rate,
                    "lower": rate.interval[0],
                    "upper": rate.interval[1],
                    "successes": rate.successes,
                    "finished": rate.finished,
                    "planned": rate.planned,
                    "broken": rate.errors + rate.timeouts,
                }
                for rate in verdict.rates
            ],
            "costs": [dataclasses.asdict(cost) for cost in costs(run)],
            "commit": _text(run.recorded("git", "commit")),
            "dirty": run.recorded("git", "dirty") is True,
            "hardware": _hardware(run),
            "has_report": (folder / "report.html").is_file(),
        },
    )


def _utc(text: str | None) -> str | None:
    try:
        time = datetime.datetime.fromisoformat(text or "")
    except ValueError:
        return None
    utc = datetime.UTC
    time = time.replace(tzinfo=utc) if time.tzinfo is None else time.astimezone(utc)
    return time.strftime("%Y-%m-%d %H:%M")


def _hardware(run: Run) -> str:
    """The GPUs, or without any the processor."""
    devices = run.recorded("torch", "devices")
    listed = devices if isinstance(devices, list) else []
    names = [str(device.get("name")) for device in listed if isinstance(device, dict)]
    return ", ".join(names) or _text(run.recorded("cpu", "model")) or "not recorded"


def _text(found: object) -> str | None:
    return found if isinstance(found, str) else None
