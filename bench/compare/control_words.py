"""What the control suites showed of the code of a run. Non-obvious: these are not among the names
of ``bench.wording`` itself, because ``bench.compare.control_runs`` needs those."""

import typing

from bench.record.controls import ControlResult, ControlRun, Controls, PassedOver, Why

NOT_LOOKED_FOR = "Not checked yet: `wmbench run` looks for control runs when it ends."
NO_CODE_VERSION = (
    "This run has no record of its code version, or the code was edited before the run was "
    "continued; no control run can be matched with it."
)
BROKEN = (
    "A control failed: its right answer is known, and the run gave another one. For this code "
    "version the instrument is broken, and the verdict of this run cannot be trusted, whatever "
    "it is."
)


def controls_note(controls: Controls | None) -> str | None:
    """Why nothing can be said of any control, or None."""
    if controls is None:
        return NOT_LOOKED_FOR
    return NO_CODE_VERSION if controls.code_sha256 is None else None


def control_sentence(control: ControlResult, machine: str) -> str:
    """What one control suite showed, or what to do to know it."""
    name = f"{control.kind.capitalize()} control"
    if control.found is None:
        command = f"make bench SUITE={control.suite} SCALE={control.scale} MACHINE={machine}"
        none_yet = f"{name}: none of this code version on machine {machine}; run {command}."
        if not control.passed_over:
            return none_yet
        reasons = typing.get_args(Why)
        nearest = min(control.passed_over, key=lambda run: reasons.index(run.why))
        return f"{none_yet} {nearest.run} does not count: {_reason(nearest)}."
    sentence = f"{name} {_outcome(control, control.found)}"
    if control.failed and control.runs > 1:
        sentence += f" Of {control.runs} such runs of this code {control.failed} failed."
    return sentence


def _outcome(control: ControlResult, run: ControlRun) -> str:
    ended = f", {run.finished_at[:10]}" if run.finished_at else ""
    where = f"({run.run}{ended}, same code)"
    if control.kind == "positive":
        if run.outcome == "shown":
            return f"shown: SUPPORTED, the instrument found the effect that was built in {where}."
        return (
            f"FAILED {where}: an effect was built in and must be SUPPORTED, but the verdict is"
            f" {run.sentence}"
        )
    if run.outcome == "failed":
        claimed = ", ".join(f'"{claim}"' for claim in run.gains)
        return f"FAILED {where}: no gain is possible, but the verdict is SUPPORTED in {claimed}."
    if run.outcome == "undecided":
        return (
            f"not shown {where}: no gain was claimed, but this run was not able to claim one; its "
            f"verdict is {run.sentence}"
        )
    return (
        f"shown: {run.decision}, the instrument claimed no gain, and no gain is possible {where}."
    )


def _reason(run: PassedOver) -> str:
    if run.why == "unreadable":
        return f"it cannot be read ({run.detail})"
    return {
        "unfinished": "it is not finished",
        "changed": "it leaves out arms or episodes, or its training differs from its suite",
        "scale": "a run of its scale cannot show anything",
        "code": (
            "it was made by other code; the command would find it finished, so first move it to "
            "another folder"
        ),
        "machine": "it was made on another machine",
    }[run.why]
