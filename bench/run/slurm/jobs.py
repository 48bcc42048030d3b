"""Which jobs a plan is, and which waits for which. Pure."""

from collections.abc import Collection
from dataclasses import dataclass

from bench.plan.document import Plan

ROLLOUTS, REPORT = "rollouts", "report"


@dataclass(frozen=True)
class Job:
    name: str
    """The case's; ``<case>.shards`` for an array of a rollout's parts; ``rollouts``; ``report``."""
    cases: tuple[str, ...] = ()
    """The cases it carries out; of the report none."""
    after: tuple[str, ...] = ()
    """Names of the jobs it waits for."""
    whatever: bool = False
    """Whether it starts when those have ended in any way; else all must have succeeded."""
    shards: int = 1
    """Tasks of the job array, each a shard; 1: no array."""
    gpus: int = 0
    """Of each node."""
    nodes: int = 1
    ranks: int = 1
    """Processes that share its training, on all nodes; each is a task of the job's step."""


def make_jobs(plan: Plan, done: Collection[str], shards: int = 1) -> tuple[Job, ...]:
    """A job for every case that is not `done`, after those of its needs; at last the report anyway.

    A rollout that is split is an array of its shards, then a job of its own name that finds all
    episodes and writes the record. The rollouts of a plan with several looks are one job: each look
    needs the episodes of all. It plays those whose arm is trained.
    """
    jobs: list[Job] = []
    for case in plan.cases:
        if case.id in done:
            continue
        after = tuple(need for need in case.needs if need not in done)
        machine = plan.machine
        gpus = int(machine.accelerator != "cpu")  # a machine with a GPU is asked for it always
        if case.kind == "rollout" and plan.last_look > 1:
            if ROLLOUTS not in [job.name for job in jobs]:
                jobs.append(_all_rollouts(plan, done, gpus))
        elif case.kind == "rollout" and shards > 1:
            jobs.append(Job(f"{case.id}.shards", (case.id,), after, shards=shards, gpus=gpus))
            jobs.append(Job(case.id, (case.id,), (f"{case.id}.shards",), gpus=gpus))
        elif plan.trains(case):
            ranks, per_node = machine.training_processes, gpus * machine.processes_per_node
            jobs.append(
                Job(case.id, (case.id,), after, gpus=per_node, nodes=machine.nodes, ranks=ranks)
            )
        else:
            jobs.append(Job(case.id, (case.id,), after, gpus=gpus))
    return (*jobs, Job(REPORT, after=tuple(job.name for job in jobs), whatever=True))


def _all_rollouts(plan: Plan, done: Collection[str], gpus: int) -> Job:
    rollouts = plan.rollout_cases()
    trainings = dict.fromkeys(need for case in rollouts for need in case.needs if need not in done)
    cases = tuple(case.id for case in rollouts)
    return Job(ROLLOUTS, cases, tuple(trainings), whatever=True, gpus=gpus)
