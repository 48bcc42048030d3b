"""A training whose processes srun starts: rank 0 carries the case out, the others join in."""

from collections.abc import Callable, Sequence

from bench.plan.document import Plan
from bench.plan.machine import Machine
from wmvla.errors import UserError
from wmvla.processes import by_srun, srun_rank, srun_ranks


def are_shared(plan: Plan, cases: Sequence[str]) -> bool:
    """Whether this process is one of several that srun started for one training: no shards then."""
    several = by_srun() and plan.machine.training_processes > 1
    return several and len(cases) == 1 and plan.trains(plan.case(cases[0]))


def joins(plan: Plan, cases: Sequence[str]) -> bool:
    """Whether this process only joins in the training that rank 0 carries out. UserError where srun
    started another number of processes than the machine trains with."""
    if not are_shared(plan, cases):
        return False
    machine = plan.machine
    if srun_ranks() != machine.training_processes:
        raise UserError(
            f"srun started {srun_ranks()} processes, but machine '{machine.name}' trains with "
            f"{machine.training_processes}; give srun --nodes={machine.nodes} --ntasks="
            f"{machine.training_processes} --ntasks-per-node={machine.processes_per_node}"
        )
    return srun_rank() > 0


def refuse_several_nodes(plan: Plan, cases: Sequence[str], is_done: Callable[[str], bool]) -> None:
    """UserError if one of the cases is an undone training on several nodes, without srun."""
    if plan.machine.nodes == 1 or by_srun():
        return
    if not all(is_done(case) for case in cases if plan.trains(plan.case(case))):
        raise UserError(submit_instead(plan.machine))


def submit_instead(machine: Machine) -> str:
    """What to do where a machine of several nodes is to train without Slurm."""
    return (
        f"machine '{machine.name}' trains on {machine.nodes} nodes, whose processes Slurm starts; "
        "give wmbench submit instead of wmbench run, or a machine of one node"
    )
