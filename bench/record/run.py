"""What a run directory holds: plan, journals, metrics, records of cases, provenance, measured
speed, films, controls."""

import functools
import json
import math
from pathlib import Path
from typing import Any

import msgspec

from bench.formats.one_line import one_line
from bench.formats.strict_json import read_object
from bench.plan.cases import Case
from bench.plan.document import Plan
from bench.plan.files import load_plan
from bench.record.controls import Controls, read_controls
from bench.record.external import FOLDER, PUBLISHED, External, read_externals
from bench.record.forms import Provenance, Step
from bench.record.intact import require_form, require_record, require_unchanged
from bench.record.journal import read_journals
from wmvla.documents import faults
from wmvla.errors import UserError, answer_of_system
from wmvla.json_columns import Columns
from wmvla.json_lines import read_objects
from wmvla.rollout.journal import Row

Record = dict[str, Any]

STEPS = msgspec.json.Decoder(dict[str, int | float | list[int | float]])
THROUGHPUT = "throughput.json"
"""What pytest-benchmark wrote of the throughput suite, laid into the run directory."""
VIDEOS, FILM = "videos", "[!.]*.mp4"
"""Folder of the films, and its films: one that is being written begins with a dot."""
PROVENANCE = "provenance.json"
PARTS = ("metrics", "failures", "controls", "externals", "speeds", "films")
"""What `read_run` reads besides records, journals and provenance."""


class Run:
    """A run directory. Each part is read once, when asked for; what is not there is empty or None.

    Args:
        plan: the plan of `run_dir`, if it is at hand. parts: other parts that are at hand.

    Raises UserError where `run_dir` holds no plan, and from each part whose file is damaged.
    """

    def __init__(self, run_dir: Path, plan: Plan | None = None, **parts: Any) -> None:
        self.run_dir = run_dir
        self.plan = plan or load_plan(run_dir)
        vars(self).update(parts)

    def with_parts(self, **parts: Any) -> "Run":
        """The same run with those parts in place of its own."""
        return Run(**{**vars(self), **parts})

    @functools.cached_property
    def rows(self) -> dict[str, Columns[Row]]:
        """Journal rows by rollout case, in table order, checked against the plan."""
        return read_journals(self.plan, self.run_dir)

    @functools.cached_property
    def metrics(self) -> dict[str, list[Record]]:
        """Logged steps by train case."""
        return {case.id: self._steps(case) for case in self.plan.cases if case.kind == "train"}

    @functools.cached_property
    def cases(self) -> dict[str, Record]:
        """Records of the finished cases, in the plan's order."""
        found = {}
        for case in self.plan.cases:
            path = self.run_dir / "cases" / f"{case.id}.json"
            record = read_object(path)
            require_record(path, record, case)
            if record is not None:
                found[case.id] = record
        return found

    @functools.cached_property
    def failures(self) -> dict[str, str]:
        """Why cases failed when they were last tried, for those that are not done since."""
        found = {}
        for case in self.plan.cases:
            if case.id not in self.cases:
                failed = read_object(self.run_dir / "failures" / f"{case.id}.json")
                if failed is not None:
                    found[case.id] = str(failed.get("error"))
                    attempts = failed.get("attempts")
                    if isinstance(attempts, list) and len(attempts) > 1:
                        earlier = f"the earlier ones: failures/{case.id}.json"
                        found[case.id] += f" (attempt {len(attempts)}; {earlier})"
        return found

    @functools.cached_property
    def provenance(self) -> Record | None:
        return read_object(self.run_dir / PROVENANCE)

    @functools.cached_property
    def controls(self) -> Controls | None:
        return read_controls(self.run_dir)

    @functools.cached_property
    def externals(self) -> tuple[External, ...]:
        """What others measured: imported into the run, and published tables. It decides nothing."""
        return (*read_externals(self.run_dir / FOLDER), *read_externals(PUBLISHED))

    @functools.cached_property
    def speeds(self) -> list[Record] | None:
        """What the throughput suite says of each figure; None if it was not measured."""
        return _read_speeds(self.run_dir / THROUGHPUT)

    @functools.cached_property
    def films(self) -> frozenset[str]:
        """Names of the files in ``videos/``."""
        return films_in(self.run_dir)

    def recorded(self, *path: str) -> Any:
        """The entry of the provenance under those keys; None if there is none."""
        return entry(self.provenance, *path)

    def _steps(self, case: Case) -> list[Record]:
        path = self.run_dir / "metrics" / f"{case.id}.jsonl"
        lines = _read_lines(path)
        for line in lines:
            line.update(_under_common_names(line))
        return lines


def read_run(run_dir: Path) -> Run:
    """A run with every part read, held against the sums in its records. UserError: damage."""
    run = Run(run_dir)
    require_unchanged(run_dir, run.cases, {case: len(rows) for case, rows in run.rows.items()})
    require_form(run_dir / PROVENANCE, run.provenance, Provenance)
    for part in PARTS:
        getattr(run, part)
    return run


def entry(record: object, *path: str) -> Any:
    """What nested objects hold under those keys; None if there is nothing."""
    for key in path:
        record = record.get(key) if isinstance(record, dict) else None
    return record


def films_in(run_dir: Path) -> frozenset[str]:
    """Names of the films of a run that are here."""
    return frozenset(film.name for film in (run_dir / VIDEOS).glob(FILM))


def _under_common_names(line: Record) -> Record:
    """``loss``, and ``world_gate``: wherever the memory enters, of several the widest."""
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
    """The figures that pytest-benchmark wrote. UserError if they are none of the suite's."""
    document = read_object(path)
    if document is None:
        return None
    benchmarks = document.get("benchmarks")
    if not isinstance(benchmarks, list):
        raise UserError(
            f"{path}: 'benchmarks' is not a list; put the throughput suite's --benchmark-json "
            "file there again"
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
        raise UserError(f"{path}: cannot be read: {answer_of_system(error)}") from None
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
