"""One session of work in a run directory: `wmbench run` and pytest carry cases out through it."""

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.forecast.requirements import require
from bench.formats.strict_json import read_object
from bench.plan.cases import Case
from bench.plan.document import Plan
from bench.plan.files import write_plan
from bench.record.provenance import TASK_FILES, collect, refuse_other_tasks, sums_of_tasks
from bench.run.executor import Executor
from bench.run.srun import refuse_several_nodes
from wmvla.errors import UserError
from wmvla.files import write_json
from wmvla.rollout.lock import lock
from wmvla.rollout.shard import Shard, rows_of


@dataclass(frozen=True)
class Session:
    """A run directory that is held, and what carries cases out in it."""

    executor: Executor

    def carry_out(self, case_id: str) -> dict[str, Any]:
        """The record of a case, which is carried out, with what it needs, unless it is done.
        UserError, TripwireError: nothing may go on. RuntimeError: the record is not the plan's. Any
        other exception: what stopped this case, or one that it needs."""
        context, record = self.executor.context, self.executor.ensure(case_id)
        if wrong := contradiction(context.plan, context.plan.case(case_id), record, context.shard):
            raise RuntimeError(
                f"{context.run_dir / 'cases' / case_id}.json: {wrong}; remove the file and give the"
                " same command again to carry the case out again"
            )
        return record


def cases_here(
    plan: Plan, shard: Shard | None = None, cases: Sequence[str] = ()
) -> tuple[str, ...]:
    """Ids of the cases to do here, in order: the named; of a shard, all rollouts; else all."""
    every = plan.rollout_cases() if shard else plan.cases
    return tuple(cases) or tuple(case.id for case in every)


@contextmanager
def session(
    plan: Plan,
    run_dir: Path,
    chosen: Sequence[str],
    *,
    shard: Shard | None = None,
    cases: Sequence[str] = (),
    show: Callable[[str], None] | None = None,
    trackers: tuple[str, ...] = (),
    deterministic: bool = False,
    logged: bool = False,
    command: str | None = None,
    flags: Sequence[str] = (),
) -> Iterator[Session]:
    """Hold the run directory and leave plan and provenance in it.

    Args:
        chosen: the cases that will be asked for. cases: those of them that were named, () for none.
        command: what the user gave, for provenance. flags: the options that make the plan, for what
        the user is to give. The others are `Executor`'s.

    UserError if this computer lacks what the plan requires, if another run is at work there, if
    what is chosen needs what nobody here does, or if LIBERO's files are not what they were when the
    run began.
    """
    require(plan, cases)
    with lock(run_dir, shard, cases):
        write_plan(plan, run_dir)
        executor = Executor(plan, run_dir, show, trackers, deterministic, shard, cases, logged)
        refuse_several_nodes(plan, chosen, executor.is_done)
        if shard or cases:
            _refuse_undone_needs(executor, chosen, flags)
        tasks = sums_of_tasks(plan.recipe.environment)
        if read_object(run_dir / "provenance.json") is None:
            files = {TASK_FILES: tasks} if tasks else {}
            write_json(run_dir / "provenance.json", {**collect(command=command), **files})
        refuse_other_tasks(run_dir, tasks)
        yield Session(executor)


def _refuse_undone_needs(executor: Executor, chosen: Sequence[str], flags: Sequence[str]) -> None:
    """UserError if what is chosen needs an undone case that is another process's to do.
    Non-obvious: of several named cases those that lack something fail by themselves."""
    needs = {
        case_id: need
        for case_id in chosen
        if (need := executor.undone_need(case_id)) not in (None, *chosen)
    }
    if needs and (executor.context.shard or len(needs) == len(chosen)):
        case_id, need = next(iter(needs.items()))
        suite = executor.context.plan.suite
        first = shlex.join(["pytest", "suites/", f"--suite={suite}", *flags, "-k", str(need)])
        reason = "a shard only plays" if executor.context.shard else "--case does that case alone"
        raise UserError(f"{case_id} needs {need}, which is not done, and {reason}; first: {first}")


def contradiction(
    plan: Plan, case: Case, record: dict[str, Any], shard: Shard | None = None
) -> str | None:
    """What a case's record says otherwise than its plan, in one sentence; None where they agree. A
    rollout has the whole table, its shard, or all up to a look; a replay all held-out ones."""
    wanted: dict[str, Sequence[Any]] = {"case": [case.id], "kind": [case.kind]}
    if case.kind == "train":
        wanted["steps"] = [plan.recipe.training.steps]
    if case.kind == "rollout":
        until = [plan.rows_until(look) for look in range(1, plan.last_look + 1)]
        wanted["episodes"] = sorted({len(rows_of(shard, rows)) for rows in until})
    if case.kind == "replay":
        held_out = plan.recipe.demonstrations.held_out
        wanted["episodes"] = [len(plan.recipe.environment.tasks) * len(held_out)]
    for key, possible in wanted.items():
        if record.get(key) not in possible:
            asked = " or ".join(map(str, possible))
            return f"'{key}' is {record.get(key)}, but the plan says {asked}"
    return None
