"""What a plan needs that this machine may lack: a GPU, and files of the hub, looked for locally."""

from collections.abc import Sequence

from bench.forecast.hub import Needed, needed_by, unseen_cameras
from bench.host import hardware
from bench.plan.document import Plan
from bench.plan.machine import detect_accelerator, detect_machine
from wmvla.errors import UserError


def missing_for(plan: Plan, cases: Sequence[str] = ()) -> list[str]:
    """A sentence, with how to get it, for each thing that the plan's `cases` need and lack."""
    return [*_missing_gpu(plan, cases), *_missing_files(plan)]


def require(plan: Plan, cases: Sequence[str] = ()) -> None:
    """UserError naming all that `missing_for` finds, and the command that lists the files."""
    gpu, files = _missing_gpu(plan, cases), _missing_files(plan)
    if gpu or files:
        command = (
            f"wmbench plan {plan.suite} --scale={plan.scale} --machine={plan.machine.name}"
            " --offline"
        )
        listed = [f"file by file: {command}"] if files else []
        raise UserError(
            f"scale '{plan.scale}' cannot run here: {'; '.join([*gpu, *files, *listed])}"
        )


def _missing_gpu(plan: Plan, cases: Sequence[str]) -> list[str]:
    machine = plan.machine
    if machine.accelerator == "cpu" and not plan.requires_gpu:
        return []
    found = detect_accelerator()
    if machine.accelerator == "cpu":
        seen = "none was found" if found == "cpu" else f"MACHINE={detect_machine()} was found"
        return [f"a GPU is needed, and machine '{machine.name}' has none ({seen})"]
    if machine.accelerator != found:
        return [f"machine '{machine.name}' has a {machine.accelerator} GPU, and none was found"]
    visible = len(hardware.torch_build()["devices"])
    trained = any(plan.trains(case) for case in plan.cases if not cases or case.id in cases)
    if trained and visible < machine.processes_per_node:
        each = " of each node" if machine.nodes > 1 else ""
        needs = f"trains on {machine.processes_per_node} GPUs{each}; visible: {visible}"
        return [f"machine '{machine.name}' {needs}"]
    return []


def _missing_files(plan: Plan) -> list[str]:
    missing = [sentence_of(needed) for needed in needed_by(plan) if needed.missing]
    return [*missing, *unseen_cameras(plan)]


def sentence_of(needed: Needed) -> str:
    """What of it is missing, and the command that fetches it."""
    if not any(needed.files.values()):
        return f"{needed.what} {needed.name} is not here ({needed.command})"
    lacks, more = ", ".join(needed.missing[:3]), len(needed.missing) - 3
    lacks += f" and {more} more" if more > 0 else ""
    return f"{needed.what} {needed.name} in {needed.folder} lacks {lacks} ({needed.command})"
