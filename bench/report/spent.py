"""Seconds, CPU seconds, GPU seconds and joules that a run has spent, by kind of case. Pure."""

from typing import Any

from bench.plan.document import Plan
from bench.record.run import Record, Run

Content = dict[str, Any]

ON_DEVICE = ("base", "latents", "train", "rollout", "replay")
"""Kinds of cases that hold a GPU where the machine has one."""


def spent(run: Run) -> Content:
    """Sums over the cases that are recorded; None if no case of a kind has it. Non-obvious: these
    are the seconds in ``cases/``, those of the last session of a case that was interrupted. What an
    earlier run had left in the cache cost this one nothing."""
    kinds: list[Record] = []
    for kind in dict.fromkeys(case.kind for case in run.plan.cases):
        cases = [case for case in run.plan.cases if case.kind == kind]
        records = [run.cases[case.id] for case in cases if case.id in run.cases]
        seconds = _sum([record.get("seconds") for record in records])
        kinds.append(
            {
                "kind": kind,
                "cases": len(cases),
                "done": len(records),
                "seconds": seconds,
                "cpu_seconds": _sum([record.get("cpu_seconds") for record in records]),
                "gpu_seconds": _gpu_seconds(run.plan, kind, seconds),
                "joules": _sum([record.get("joules") for record in records]),
            }
        )
    keys = ("seconds", "cpu_seconds", "gpu_seconds", "joules")
    return {"kinds": kinds, **{key: _sum([kind[key] for kind in kinds]) for key in keys}}


def _gpu_seconds(plan: Plan, kind: str, seconds: float | None) -> float | None:
    """Seconds times GPUs that were held, as ``bench.forecast.costs`` has them, if there are any."""
    if plan.machine.accelerator == "cpu" or seconds is None or kind not in ON_DEVICE:
        return None
    return seconds * (plan.machine.training_processes if kind == "train" else 1)


def _sum(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
