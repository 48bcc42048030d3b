"""What a run directory holds: plan, journals, metrics, records of cases, provenance, measured
speed, films, controls."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from bench.formats.json_file import read_object
from bench.formats.one_line import one_line
from bench.plan.document import Plan
from bench.plan.files import load_plan
from bench.record.controls import Controls, read_controls
from bench.record.external import FOLDER, PUBLISHED, External, read_externals
from bench.record.forms import Provenance, Step
from bench.record.intact import require_form, require_record, require_unchanged
from bench.record.journal import read_journals
from wmvla.documents import faults
from wmvla.errors import UserError
from wmvla.json_lines import read_objects
from wmvla.rollout.journal import Row

Record = dict[str, Any]

STEPS = msgspec.json.Decoder(dict[str, int | float | list[int | float]])
THROUGHPUT = "throughput.json"
"""What pytest-benchmark wrote of the throughput suite on the run's machine, laid into the run
directory."""
VIDEOS, FILM = "videos", "[!.]*.mp4"
"""Folder of the films, and which files in it are films: one that is being written has a name that
begins with a dot."""


@dataclass(frozen=True)
class Run:
    """Everything that a report is made from. What is not there yet is empty or None."""

    plan: Plan
    rows: dict[str, list[Row]]
    """Journal rows by rollout case."""
    metrics: dict[str, list[Record]]
    """Logged steps by train case."""
    cases: dict[str, Record]
    """Records of the finished cases, in the plan's order."""
    provenance: Record | None
    failures: dict[str, str]
    """Why cases failed when they were last tried, for those that are not done since."""
    controls: Controls | None
    externals: tuple[External, ...] = ()
    """What others measured: imported into the run, and published tables. It decides nothing."""
    speeds: list[Record] | None = None
    """What the throughput suite told of each figure, in its order; None where it was not
    measured."""
    films: frozenset[str] = field(default_factory=frozenset)
    """Names of the files in ``videos/``."""


def read_run(run_dir: Path) -> Run:
    """Read a run directory. UserError where a file in it is damaged, or where it is none."""
    plan = load_plan(run_dir)
    metrics, cases, failures = {}, {}, {}
    for case in plan.cases:
        record = read_object(run_dir / "cases" / f"{case.id}.json")
        require_record(run_dir / "cases" / f"{case.id}.json", record, case)
        if record is not None:
            cases[case.id] = record
        elif (failed := read_object(run_dir / "failures" / f"{case.id}.json")) is not None:
            failures[case.id] = str(failed.get("error"))
        if case.kind == "train":
            lines = _read_lines(run_dir / "metrics" / f"{case.id}.jsonl")
            for line in lines:
                line.update(_under_common_names(line))
            metrics[case.id] = lines
    rows = read_journals(plan, run_dir)
    require_unchanged(run_dir, cases, {case: len(found) for case, found in rows.items()})
    provenance = read_object(run_dir / "provenance.json")
    require_form(run_dir / "provenance.json", provenance, Provenance)
    return Run(
        plan=plan,
        rows=rows,
        metrics=metrics,
        cases=cases,
        provenance=provenance,
        failures=failures,
        controls=read_controls(run_dir),
        externals=(*read_externals(run_dir / FOLDER), *read_externals(PUBLISHED)),
        speeds=_read_speeds(run_dir / THROUGHPUT),
        films=films_in(run_dir),
    )


def films_in(run_dir: Path) -> frozenset[str]:
    """Names of the films of a run that are here."""
    return frozenset(film.name for film in (run_dir / VIDEOS).glob(FILM))


def _under_common_names(line: Record) -> Record:
    """``loss``, and ``world_gate``: of an arm whose memory enters elsewhere the gate there, the
    widest one of several."""
    gates = [
        value
        for key, value in line.items()
        if key.startswith("world_gate") and isinstance(value, int | float)
    ]
    return {
        **({"loss": line["loss_total"]} if "loss_total" in line else {}),
        **({"world_gate": max(gates, key=abs)} if gates else {}),
    }


def _read_speeds(path: Path) -> list[Record] | None:
    """The figures in what pytest-benchmark wrote. UserError where they are not what the throughput
    suite tells."""
    document = read_object(path)
    if document is None:
        return None
    benchmarks = document.get("benchmarks")
    if not isinstance(benchmarks, list):
        raise UserError(
            f"{path}: 'benchmarks' is no list; lay the throughput suite's --benchmark-json there"
            " again"
        )
    infos = [each.get("extra_info") for each in benchmarks if isinstance(each, dict)]
    speeds = [info for info in infos if isinstance(info, dict) and "figure" in info]
    for speed in speeds:
        value = speed.get("value")
        if (
            not isinstance(value, int | float)
            or not math.isfinite(value)
            or not isinstance(speed.get("unit"), str)
        ):
            raise UserError(
                f"{path}: figure '{speed['figure']}' has no number and unit; measure it again"
            )
    return speeds


def _read_lines(path: Path) -> list[Record]:
    """All whole lines; a killed training may leave half a line at the end."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    whole = text[: text.rfind(b"\n") + 1]
    lines: list[Record] | None = read_objects(whole, STEPS)
    if lines is None:
        lines = []
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                lines.append(json.loads(line))
            except (ValueError, RecursionError):
                raise UserError(
                    f"{path}: line {number} is not a logged step; restore the file or remove the"
                    " line"
                ) from None
    for number, found in enumerate(lines, start=1):
        if fault := next(faults(Step, found), None):
            raise UserError(
                f"{path}: line {number} is not a logged step: {one_line(fault)}; restore the"
                " file or remove the line"
            )
    return lines
