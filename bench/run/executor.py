"""Carries out a plan's cases, each once, after their needs: here alone ``bench`` calls ``wmvla``.

Shared between runs, in the cache beside ``results/``, each under a hash of what it was made from:
tiny models, demonstrations, latents, base policy. In the run directory: what the plan's cases make.
"""

import contextlib
import functools
import json
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from bench.formats.checksums import signed, sums_of
from bench.formats.strict_json import read_object
from bench.host.energy import Counter, NoReading, find_counter, reading
from bench.judge.pairing import RowsByCase
from bench.judge.progress import Progress, progress_of, wanted_looks
from bench.plan.cases import Case
from bench.plan.document import Plan
from bench.record.code_version import code_sha256
from bench.record.journal import check_against_plan, journal_path, read_journals
from bench.record.privacy import anonymous, hide_names
from bench.record.provenance import image_digest
from bench.run.film_choice import Films
from bench.run.output import printed_to
from bench.run.stages import (
    base,
    demonstrations,
    filming,
    held_out,
    joining,
    latents,
    replay,
    rollout,
    training,
    wiring,
)
from bench.run.stages.context import Context
from bench.run.stages.made_here import with_remedy
from wmvla.errors import UserError, disk_errors_are_user_errors
from wmvla.files import write_json
from wmvla.recipe import EpisodeRow
from wmvla.rollout.journal import Row, read_all
from wmvla.rollout.shard import Shard

STAGES: dict[str, Callable[[Context, Case], dict[str, Any]]] = {
    "demonstrations": demonstrations.run,
    "base": base.run,
    "latents": latents.run,
    "wiring": wiring.run,
    "held-out": held_out.run,
    "train": training.run,
    "rollout": rollout.run,
    "replay": replay.run,
}


def record_path(run_dir: Path, case_id: str) -> Path:
    return run_dir / "cases" / f"{case_id}.json"


def failure_path(run_dir: Path, case_id: str) -> Path:
    """Where it is recorded why attempts at a case failed; it stays when a later one succeeds."""
    return run_dir / "failures" / f"{case_id}.json"


def failed_attempts(path: Path) -> list[dict[str, Any]]:
    """What a failure record says of each attempt; of an unreadable one nothing."""
    try:
        found = json.loads(path.read_text())
        return [*found["attempts"]]
    except (OSError, ValueError, TypeError, KeyError):
        return []


class Executor:
    """Runs the cases of one plan in one run directory.

    Args:
        show: prints one progress line; None keeps quiet. trackers: where metrics go beside their
        file.
        deterministic: the policy answers one query at a time. shard: the part of every rollout that
        is played here.
        cases: those that are carried out here, beside others elsewhere: what they need must be
        done; () for all.
        logged: what a case prints goes into its log, and not to where this process prints.
    """

    def __init__(
        self,
        plan: Plan,
        run_dir: Path,
        show: Callable[[str], None] | None = None,
        trackers: tuple[str, ...] = (),
        deterministic: bool = False,
        shard: Shard | None = None,
        cases: Sequence[str] = (),
        logged: bool = False,
    ) -> None:
        self.context = Context(plan, run_dir, show, trackers, deterministic, shard)
        self.mine = frozenset(cases or (case.id for case in plan.cases))
        self.logged = logged
        self.failures: dict[str, Exception] = {}
        self.carried_out: set[str] = set()
        """The cases that were not found done."""
        self._known_progress: tuple[object, Progress] | None = None
        self.code = code_sha256()
        self.image = image_digest()

    def ensure(self, case_id: str) -> dict[str, Any]:
        """The record of a case; whatever is missing of it and of its needs is done first.

        A shard plays its part of a rollout whose needs are done, and gives that part's record.

        Raises:
            Exception: what stopped the case, or a case that it needs; the same again when asked
            again.
        """
        if case_id in self.failures:
            raise self.failures[case_id]
        case = self.context.plan.case(case_id)
        try:
            if self.context.shard:
                assert self.undone_need(case_id) is None, "a shard trains nothing"
                return self._tried(case)
            self._ensure_needs(case)
            with disk_errors_are_user_errors():
                do = self._look_by_look if case.kind == "rollout" else self._run
                return self._finished(case) or do(case)
        except Exception as error:
            self.failures[case_id] = error
            raise

    def _ensure_needs(self, case: Case) -> None:
        """Do what the case needs. RuntimeError: another process has to, and has not."""
        for need in case.needs:
            if need in self.mine:
                self.ensure(need)
            elif self._finished(self.context.plan.case(need)) is None:
                raise RuntimeError(f"{case.id} needs {need}, which is not done")

    def join(self, case_id: str) -> int:
        """Train beside the process that carries the case out: this one's exit code."""
        case = self.context.plan.case(case_id)
        return 0 if self._finished(case) else joining.run(self.context, case)

    def film(
        self, films: Films, rows: Mapping[str, Mapping[int, Row]]
    ) -> tuple[list[Path], list[str]]:
        """Play episodes again and film them: the files, and why an episode has none. UserError
        where a checkpoint is not here."""
        for case_id in films.episodes():
            need = self.undone_need(case_id)
            if need is not None:
                raise UserError(
                    f"{self.context.run_dir}: {case_id} cannot be filmed: the checkpoint of {need}"
                    " is not here"
                )
        return filming.run(self.context, films, rows)

    def undone_need(self, case_id: str) -> str | None:
        """The first case that this one needs and that is not done; None where all are."""
        needs = self.context.plan.case(case_id).needs
        return next(
            (need for need in needs if self._finished(self.context.plan.case(need)) is None), None
        )

    def is_done(self, case_id: str) -> bool:
        return self._finished(self.context.plan.case(case_id)) is not None

    def _finished(self, case: Case) -> dict[str, Any] | None:
        """The record of a case that is done and whose artefacts still exist."""
        path = record_path(self.context.run_dir, case.id)
        record = read_object(path)
        if record is None or not all(
            Path(artefact).exists()
            for artefact in self.context.absolute(record["artefacts"]).values()
        ):
            return None
        if case.kind == "rollout" and case.id in self._wanted_looks(self._rows(case)):
            return None
        return record

    def _look_by_look(self, asked: Case) -> dict[str, Any]:
        """Play the case that was ``asked`` for up to where it ends: its record. If the plan has
        several looks, every rollout is played with it, all of them to one look before any to the
        next. Another one that fails stops those alone that wait for its episodes."""
        plan = self.context.plan
        together = plan.rollout_cases() if plan.last_look > 1 else [asked]
        parts: dict[str, list[dict[str, Any]]] = {case.id: [] for case in together}
        while waiting := {
            case: look
            for case, look in self._wanted_looks(self._rows(asked)).items()
            if case in parts and case not in self.failures
        }:
            look = min(waiting.values())
            for case_id in [case for case, its_look in waiting.items() if its_look == look]:
                case = plan.case(case_id)
                try:
                    self._ensure_needs(case)
                    self._forget(case)
                    with disk_errors_are_user_errors():
                        parts[case_id].append(self._timed(case, plan.rows_until(look)))
                except Exception as error:
                    self.failures[case_id] = error
                    self._write_failure(case, error)
        if asked.id in self.failures:
            raise self.failures[asked.id]
        if not parts[asked.id]:  # a run that was killed had recorded everything
            look = self._progress(self._rows(asked)).looks[asked.rollout]
            parts[asked.id].append(self._timed(asked, plan.rows_until(look)))
        records = {
            case_id: _whole(played)
            for case_id, played in parts.items()
            if played and case_id not in self.failures
        }
        for case_id, record in records.items():
            self._write_record(plan.case(case_id), record)
        return records[asked.id]

    def _rows(self, case: Case) -> RowsByCase:
        """Rows of the rollouts that say how far this one plays: with one look its own."""
        plan, run_dir = self.context.plan, self.context.run_dir
        if plan.last_look > 1:
            return read_journals(plan, run_dir)
        rows = read_all(journal_path(run_dir, case.id))
        check_against_plan(plan, case, rows)
        return {case.id: rows}

    def _wanted_looks(self, rows: RowsByCase) -> dict[str, int]:
        return wanted_looks(self.context.plan, rows, self._progress(rows))

    def _progress(self, rows: RowsByCase) -> Progress:
        """Computed again only when there are more rows: journals are only ever added to."""
        known = tuple((case, len(found)) for case, found in rows.items())
        if self._known_progress is None or self._known_progress[0] != known:
            self._known_progress = known, progress_of(self.context.plan, rows)
        return self._known_progress[1]

    def _tried(self, case: Case) -> dict[str, Any]:
        """Carry a case, or a shard's part of it, out: its record, unwritten; why it failed is."""
        try:
            with disk_errors_are_user_errors():
                return self._timed(case)
        except Exception as error:
            self._write_failure(case, error)
            raise

    def _run(self, case: Case) -> dict[str, Any]:
        self._forget(case)
        record = self._tried(case)
        self._write_record(case, record)
        return record

    def _forget(self, case: Case) -> None:
        """Remove the record of a case that is carried out again: its sums are of what was."""
        record_path(self.context.run_dir, case.id).unlink(missing_ok=True)

    def _write_failure(self, case: Case, error: Exception) -> None:
        path, reason = failure_path(self.context.run_dir, case.id), anonymous(str(error))
        attempt = {"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "error": reason}
        attempts = [*failed_attempts(path), attempt]
        write_json(path, {"case": case.id, "error": reason, "attempts": attempts})

    def _write_record(self, case: Case, record: dict[str, Any]) -> None:
        write_json(record_path(self.context.run_dir, case.id), signed(record))

    def _timed(self, case: Case, episodes: Sequence[EpisodeRow] | None = None) -> dict[str, Any]:
        """Carry out a case, of a rollout perhaps those episodes alone; its record."""
        self.carried_out.add(case.id)
        began, cpu, joules = time.monotonic(), _cpu_seconds(), reading(self._energy)
        log = self.context.log_path(case.id)
        try:
            logged = printed_to(log) if self.logged else contextlib.nullcontext()
            with with_remedy(self.context), logged:
                figures = (
                    STAGES[case.kind](self.context, case)
                    if episodes is None
                    else rollout.run(self.context, case, episodes)
                )
        finally:
            hide_names([log, *self.context.run_dir.glob(f"jobs/{case.id}.*json")])
        return {
            "case": case.id,
            "kind": case.kind,
            "seconds": round(time.monotonic() - began, 3),
            "cpu_seconds": round(_cpu_seconds() - cpu, 3),
            **self._joules_since(joules),
            "finished_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "code_sha256": self.code,
            "image_digest": self.image,
            **figures,
            "artefacts": self.context.relative(figures["artefacts"]),
            "sums": sums_of(self.context.run_dir, figures["artefacts"], case.needs),
        }

    @functools.cached_property
    def _energy(self) -> Counter | None:
        machine = self.context.plan.machine
        try:
            return find_counter(machine.accelerator, machine.training_processes)
        except NoReading:
            return None

    def _joules_since(self, before: Mapping[str, float] | None) -> dict[str, Any]:
        """``joules`` since that reading, and ``joules_of`` what; nothing if not recorded."""
        after = reading(self._energy)
        if self._energy is None or before is None or after is None:
            return {}
        return {
            "joules": round(self._energy.spent(before, after), 3),
            "joules_of": self._energy.source,
        }


def _whole(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The record of a rollout that was played in parts, each of which holds those before it."""
    measured = ("joules",) if all("joules" in part for part in parts) else ()
    summed = {
        key: round(sum(part[key] for part in parts), 3)
        for key in ("seconds", "cpu_seconds", "played", *measured)
    }
    workers = [part["rollout_workers"] for part in parts if part["rollout_workers"]]
    last = {
        key: value for key, value in parts[-1].items() if measured or not key.startswith("joules")
    }
    return {**last, **summed, "rollout_workers": max(workers, default=None)}


def _cpu_seconds() -> float:
    """CPU seconds of this process, its ended children, and its living ones with their ended ones.
    Non-obvious: simulators are children of processes that live on, below multiprocessing's fork
    server."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    seconds = sum(usage.ru_utime + usage.ru_stime for usage in usages)
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = child.cpu_times()
            seconds += times.user + times.system + times.children_user + times.children_system
    return seconds
