"""Carries out a plan's cases, each once, with what they need first: the one place where ``bench`` calls ``wmvla``.

Shared between runs, in the cache folder beside ``results/``, each under a hash of what it was made from: tiny models,
demonstrations, latents, the base policy. In the run directory: what the plan's own cases make.
"""

import contextlib
import json
import resource
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

from bench.cases import Case
from bench.filming import Films
from bench.journal import check_against_plan, journal_path
from bench.plan import Plan
from bench.stages import base, demonstrations, filming, held_out, latents, replay, rollout, training, wiring
from bench.stages.context import Context
from wmvla.errors import UserError, disk_full_is_a_user_error
from wmvla.files import write_json
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
    """Where a finished case is recorded."""
    return run_dir / "cases" / f"{case_id}.json"


def failure_path(run_dir: Path, case_id: str) -> Path:
    """Where it is recorded why a case failed; gone as soon as it succeeds."""
    return run_dir / "failures" / f"{case_id}.json"


class Executor:
    """Runs the cases of one plan in one run directory.

    Args:
        show: prints one progress line; None keeps quiet. trackers: where metrics go beside their file.
        deterministic: the policy answers one query at a time. shard: the part of every rollout that is played here.
    """

    def __init__(
        self,
        plan: Plan,
        run_dir: Path,
        show: Callable[[str], None] | None = None,
        trackers: tuple[str, ...] = (),
        deterministic: bool = False,
        shard: Shard | None = None,
    ) -> None:
        self.context = Context(plan, run_dir, show, trackers, deterministic, shard)
        self.failures: dict[str, Exception] = {}

    def ensure(self, case_id: str) -> dict[str, Any]:
        """The record of a case; whatever is missing of it and of its needs is done first.

        A shard plays its part of a rollout whose needs are done (``undone_need``); the record is that of the part, and is
        written nowhere.

        Raises:
            Exception: what stopped the case, or a case that it needs; the same again when asked again.
        """
        if case_id in self.failures:
            raise self.failures[case_id]
        case = self.context.plan.case(case_id)
        try:
            with disk_full_is_a_user_error():
                if self.context.shard:
                    assert self.undone_need(case_id) is None, "a shard trains nothing"
                    return self._timed(case)
            for need in case.needs:
                self.ensure(need)
            with disk_full_is_a_user_error():
                return self._finished(case) or self._run(case)
        except Exception as error:
            self.failures[case_id] = error
            raise

    def film(self, films: Films, rows: Mapping[str, Mapping[int, Row]]) -> tuple[list[Path], list[str]]:
        """Play episodes again and write films of them: the files, and why an episode has none (``bench.stages.filming``).

        UserError where a checkpoint is not here.
        """
        for case_id in films.episodes():
            need = self.undone_need(case_id)
            if need is not None:
                raise UserError(f"{self.context.run_dir}: {case_id} cannot be filmed: the checkpoint of {need} is not here")
        return filming.run(self.context, films, rows)

    def undone_need(self, case_id: str) -> str | None:
        """The first case that this one needs and that is not done; None where all are."""
        needs = self.context.plan.case(case_id).needs
        return next((need for need in needs if self._finished(self.context.plan.case(need)) is None), None)

    def _finished(self, case: Case) -> dict[str, Any] | None:
        """The record of a case that is done and whose artefacts still exist."""
        path = record_path(self.context.run_dir, case.id)
        if not path.is_file():
            return None
        record = json.loads(path.read_text())
        if not all(Path(artefact).exists() for artefact in self.context.absolute(record["artefacts"]).values()):
            return None
        if case.kind == "rollout":
            rows = read_all(journal_path(self.context.run_dir, case.id))
            check_against_plan(self.context.plan, case, rows)
            if len(rows) < len(self.context.plan.episodes):
                return None
        return record

    def _run(self, case: Case) -> dict[str, Any]:
        try:
            record = self._timed(case)
        except Exception as error:
            write_json(failure_path(self.context.run_dir, case.id), {"case": case.id, "error": str(error)})
            raise
        failure_path(self.context.run_dir, case.id).unlink(missing_ok=True)
        write_json(record_path(self.context.run_dir, case.id), record)
        return record

    def _timed(self, case: Case) -> dict[str, Any]:
        """Carry out a case; its record."""
        began, cpu = time.monotonic(), _cpu_seconds()
        figures = STAGES[case.kind](self.context, case)
        return {
            "case": case.id,
            "kind": case.kind,
            "seconds": round(time.monotonic() - began, 3),
            "cpu_seconds": round(_cpu_seconds() - cpu, 3),
            "finished_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            **figures,
            "artefacts": self.context.relative(figures["artefacts"]),
        }


def _cpu_seconds() -> float:
    """CPU seconds of this process, of its children that ended, and of those that live with what of theirs has ended.

    Non-obvious: simulators are children of multiprocessing's fork server, which lives until this process ends.
    """
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    seconds = sum(usage.ru_utime + usage.ru_stime for usage in usages)
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            times = child.cpu_times()
            seconds += times.user + times.system + times.children_user + times.children_system
    return seconds
