"""The parity of two runs as one page of Markdown: a certificate, or the list of what differs."""

from dataclasses import asdict
from typing import Any

from bench.compare.parity import Parity, Speed, Success
from bench.record.run import THROUGHPUT, Run
from bench.wording.numbers import interval_points, points
from bench.wording.tables import markdown_table


def parity_page(parity: Parity) -> str:
    """One page; its first line says whether parity holds."""
    one, other = parity.runs
    names = f"{one.plan.run_name} and {other.plan.run_name}"
    heading = f"Parity certificate: {names}" if parity.holds else f"No parity: {names}"
    return "\n".join(
        [
            f"# {heading}",
            "",
            verdict(parity),
            "",
            *markdown_table(
                ("", "first", "second"),
                [[name, *values] for name, values in _machines(one, other).items()],
            ),
            "",
            "## What must be the same",
            "",
            *markdown_table(
                ("", "", ""),
                [[each.what, each.status, "; ".join(each.lines)] for each in parity.aspects],
            ),
            "",
            "## Success",
            "",
            *_successes(parity),
            "",
            "## Speed",
            "",
            *_speeds(parity),
            "",
        ]
    )


def verdict(parity: Parity) -> str:
    """One sentence: parity, or what stands in its way."""
    if parity.holds:
        return (
            "The two runs are the same experiment on two machines: plan, code, renderer and "
            "scenes are the same, and every rollout is equivalent within "
            f"{points(parity.margin).lstrip('+')} points."
        )

    def names(status: str) -> str:
        rollouts = (
            f"success of {each.rollout}" for each in parity.successes if each.status == status
        )
        return ", ".join(
            [*(each.what for each in parity.aspects if each.status == status), *rollouts]
        )

    differing, unshown = names("differs"), names("not shown")
    parts = [differing and f"{differing} differ", unshown and f"not shown: {unshown}"]
    return f"{'; '.join(filter(None, parts))}."


def _machines(one: Run, other: Run) -> dict[str, list[str]]:
    def of(text_of: Any) -> list[str]:
        return [str(text_of(run) or "not recorded") for run in (one, other)]

    return {
        "machine": of(lambda run: run.plan.machine.name),
        "commit": of(lambda run: (run.recorded("git", "commit") or "")[:12]),
        "processor": of(lambda run: run.recorded("cpu", "model")),
        "GPUs": of(_gpus),
        "torch": of(lambda run: run.recorded("packages", "torch")),
        "precision": of(lambda run: run.plan.machine.precision),
    }


def _gpus(run: Run) -> str:
    devices = run.recorded("torch", "devices")
    return "" if devices is None else ", ".join(device["name"] for device in devices) or "none"


def _successes(parity: Parity) -> list[str]:
    if not parity.successes:
        return ["No rollout can be compared: the plans have different episodes."]
    confidence = 100 * parity.successes[0].contrast.tost_interval.confidence
    header = ("rollout", "pairs", "first - second, points", f"interval at {confidence:g} %", "")
    lines = markdown_table(header, [_success_row(each) for each in parity.successes])
    margin = points(parity.margin).lstrip("+")
    return [
        *lines,
        "",
        f"`same`: the interval lies inside {margin} points on either side (two one-sided tests).",
    ]


def _success_row(success: Success) -> list[str]:
    found = success.contrast
    pairs, interval = f"{found.pairs} of {success.planned}", interval_points(found.tost_interval)
    return [success.rollout, pairs, points(found.estimate), interval, success.status]


def _speeds(parity: Parity) -> list[str]:
    missing = [str(run.run_dir) for run in parity.runs if not run.speeds]
    if missing:
        return [
            f"Not measured in {' and '.join(missing)}: put the throughput suite's "
            f"`--benchmark-json` file there as `{THROUGHPUT}`."
        ]
    divided = "the same, divided by the TFLOP/s of the matrix product"
    header = ("figure", "unit", "first", "second", "second / first", divided)
    return [
        *markdown_table(header, [_speed_row(speed) for speed in parity.speeds]),
        "",
        "Speed does not affect this result.",
    ]


def _speed_row(speed: Speed) -> list[str]:
    first, second = speed.values
    ratio = f"{second / first:.2f}"
    divided = (
        "-" if speed.normalised is None else f"{speed.normalised[1] / speed.normalised[0]:.2f}"
    )
    return [speed.figure, speed.unit, f"{first:.4g}", f"{second:.4g}", ratio, divided]


def parity_json(parity: Parity) -> dict[str, Any]:
    return {
        "parity": parity.holds,
        "verdict": verdict(parity),
        "margin": parity.margin,
        "findings": [
            {"what": each.what, "status": each.status, "told": list(each.lines)}
            for each in parity.aspects
        ],
        "successes": [
            {
                "rollout": each.rollout,
                "status": each.status,
                "planned": each.planned,
                "pairs": each.contrast.pairs,
                "difference": each.contrast.estimate,
                "interval": [each.contrast.tost_interval.lower, each.contrast.tost_interval.upper],
            }
            for each in parity.successes
        ],
        "speeds": [asdict(each) for each in parity.speeds],
    }
