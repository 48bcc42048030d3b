"""A training whose processes srun starts, each as ``wmbench run --case``: rank 0 carries the case out, the others join in."""

from collections.abc import Sequence
from pathlib import Path

from bench.cases import Case
from bench.machine import Machine
from bench.plan import Plan
from wmvla.errors import UserError
from wmvla.processes import by_srun, srun_rank, srun_ranks


def trains(plan: Plan, case: Case) -> bool:
    """Whether the case is carried out by the machine's training processes; a base policy may come from the hub."""
    return case.kind == "train" or (case.kind == "base" and plan.recipe.base.source == "tiny")


def are_shared(plan: Plan, cases: Sequence[str]) -> bool:
    """Whether srun started this process as one of several, and they are to carry out one training: they are no shards then."""
    several = by_srun() and plan.machine.training_processes > 1
    return several and len(cases) == 1 and trains(plan, plan.case(cases[0]))


def joins(plan: Plan, cases: Sequence[str]) -> bool:
    """Whether this process only joins in the training that rank 0 carries out.

    UserError where srun started another number of processes than the machine trains with.
    """
    if not are_shared(plan, cases):
        return False
    machine = plan.machine
    if srun_ranks() != machine.training_processes:
        raise UserError(
            f"srun started {srun_ranks()} processes, and machine '{machine.name}' trains with {machine.training_processes}; "
            f"give srun --nodes={machine.nodes} --ntasks={machine.training_processes} "
            f"--ntasks-per-node={machine.processes_per_node}"
        )
    return srun_rank() > 0


def refuse_several_nodes(plan: Plan, run_dir: Path, cases: Sequence[str]) -> None:
    """UserError where a training of several nodes is to be done here, and srun did not start this process."""
    if plan.machine.nodes == 1 or by_srun():
        return
    from bench.executor import Executor

    executor = Executor(plan, run_dir)
    mine = [case for case in plan.cases if trains(plan, case) and (not cases or case.id in cases)]
    if not all(executor.is_done(case.id) for case in mine):
        raise UserError(told_to_submit(plan.machine))


def told_to_submit(machine: Machine) -> str:
    """What to do where a machine of several nodes is to train without Slurm."""
    return (
        f"machine '{machine.name}' trains on {machine.nodes} nodes, whose processes Slurm starts; "
        f"give wmbench submit instead of wmbench run, or a machine of one node"
    )
