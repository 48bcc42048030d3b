"""Whether two runs of one plan on two machines, for instance ROCm and CUDA, are one experiment.

Pure: two runs in, what is the same and what differs out. Sameness is asked of what cannot differ by
chance: plan, code, renderer, scenes. Success is compared by two one-sided tests on the same
episodes, for training on another device gives other weights. Speed decides nothing.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bench.compare.differences import differences
from bench.judge.claim_evidence import contrast_readings
from bench.judge.pairing import Contrast, pair_outcomes
from bench.judge.stats.difference import tost_confidence
from bench.plan.document import Plan
from bench.plan.suite import Claim
from bench.record.journal import check_scenes
from bench.record.run import Run
from wmvla.rollout.journal import Row

Status = Literal["same", "differs", "not shown"]
Record = dict[str, Any]
USUAL_MARGIN = 0.05
"""Of a plan without a claim of equivalence: the published protocol's."""

MOST_NAMED = 8


@dataclass(frozen=True)
class Aspect:
    what: str
    status: Status
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Success:
    rollout: str
    planned: int
    contrast: Contrast
    """Success in the first run minus that in the second."""
    status: Status


@dataclass(frozen=True)
class Speed:
    """A figure of both machines, plain and divided by each one's own matrix product."""

    figure: str
    unit: str
    values: tuple[float, float]
    normalised: tuple[float, float] | None
    """For each 10^12 operations a second of the matrix product. None of that itself."""


@dataclass(frozen=True)
class Parity:
    runs: tuple[Run, Run]
    aspects: tuple[Aspect, ...]
    margin: float
    successes: tuple[Success, ...]
    speeds: tuple[Speed, ...]

    @property
    def holds(self) -> bool:
        checked: tuple[Aspect | Success, ...] = (*self.aspects, *self.successes)
        return all(each.status == "same" for each in checked)


def compare(one: Run, other: Run) -> Parity:
    """All in which two runs may differ; rollouts if both plans have them and their episodes."""
    aspects = (
        _plans(one.plan, other.plan),
        _recorded(one, other, "code", ("code_sha256",)),
        _recorded(one, other, "renderer", ("gl_renderer",), ("packages", "mujoco")),
        _recorded(one, other, "golden frame", ("golden_frame_sha256",)),
        _scenes(one, other),
    )
    margins = [claim.margin for claim in one.plan.claims if claim.margin is not None]
    margin = min(margins, default=USUAL_MARGIN)
    # Other episodes are no pairs.
    comparable = one.plan.episodes == other.plan.episodes and one.plan.seeds == other.plan.seeds
    names = dict.fromkeys(case.rollout for case in one.plan.rollout_cases()) if comparable else {}
    both = [name for name in names if other.plan.rollout_cases(name)]
    return Parity(
        (one, other),
        aspects,
        margin,
        tuple(_success(one, other, name, margin) for name in both),
        _speeds(one, other),
    )


def _plans(one: Plan, other: Plan) -> Aspect:
    moved = dataclasses.replace(other, machine=one.machine)
    if moved.hash == one.hash:
        return Aspect("plan", "same", (f"{one.suite} at {one.scale}, but for the machine",))
    differing = list(differences(one.to_json(), moved.to_json()))
    more = [f"and {len(differing) - MOST_NAMED} more"] if len(differing) > MOST_NAMED else []
    return Aspect("plan", "differs", (*differing[:MOST_NAMED], *more))


def _recorded(one: Run, other: Run, what: str, *paths: tuple[str, ...]) -> Aspect:
    statuses: list[Status] = []
    lines = []
    for path in paths:
        found = {run: run.recorded(*path) for run in (one, other)}
        name = path[-1].removesuffix("_sha256").replace("_", " ")
        lacking = [run.run_dir.name for run, value in found.items() if not isinstance(value, str)]
        if lacking:
            statuses.append("not shown")
            lines.append(f"{name}: not recorded in {' and '.join(lacking)}")
            continue
        hashed = path[-1].endswith("_sha256")
        different = dict.fromkeys(found.values())
        statuses.append("differs" if len(different) > 1 else "same")
        shown = (value[:16] if hashed else value for value in different)
        lines.append(f"{name}: {' and '.join(shown)}")
    worst: tuple[Status, ...] = ("differs", "not shown", "same")
    return Aspect(what, next(each for each in worst if each in statuses), tuple(lines))


def _scenes(one: Run, other: Run) -> Aspect:
    """The scenes in which episodes began, by (suite, task, init)."""
    left, right = (check_scenes(dict(run.rows)) for run in (one, other))
    common = sorted(set(left) & set(right))
    if not common:
        return Aspect("scenes", "not shown", ("no scene was begun in both runs",))
    differing = [key for key in common if left[key][0] != right[key][0]]
    alone = len(set(left) ^ set(right))
    lines = [f"{len(common) - len(differing)} of {len(common)} scenes are the same"]
    lines += [
        f"{suite}, task {task}, init {init}: other scene"
        for suite, task, init in differing[:MOST_NAMED]
    ]
    if alone:
        lines.append(f"{alone} scenes were begun in one run only")
    status: Status = "differs" if differing else "not shown" if alone else "same"
    return Aspect("scenes", status, tuple(lines))


def _success(one: Run, other: Run, rollout: str, margin: float) -> Success:
    """Two one-sided tests on the paired episodes, with broken ones read in each way. Non-obvious:
    *every* rollout must be equivalent. An intersection of tests at alpha errs with alpha at most:
    nothing is corrected (R. L. Berger (1982), Technometrics 24:295-300)."""
    rows: dict[str, Sequence[Row]] = {}
    for side, run in (("first", one), ("second", other)):
        rows |= {f"{side}:{case.id}": run.rows[case.id] for case in run.plan.rollout_cases(rollout)}
    plan = one.plan
    outcomes = pair_outcomes(plan, rows, f"first:{rollout}", f"second:{rollout}")
    claim = Claim(
        f"parity of {rollout}", "equivalence", f"first:{rollout}", f"second:{rollout}", "", margin
    )
    readings = contrast_readings(
        plan, claim, outcomes, (1 - plan.alpha, tost_confidence(plan.alpha))
    )
    planned = len(plan.seeds) * len(plan.episodes)
    shown = readings["failures"]
    status: Status = "not shown"
    if shown.pairs == planned and all(
        reading.tost_interval.inside(margin) for reading in readings.values()
    ):
        status = "same"
    elif all(
        reading.interval.lower >= margin or reading.interval.upper <= -margin
        for reading in readings.values()
    ):
        status = "differs"
    return Success(rollout, planned, shown, status)


def _speeds(one: Run, other: Run) -> tuple[Speed, ...]:
    figures, others = _figures(one), _figures(other)
    left = figures.get(f"gemm_{one.plan.machine.precision}")
    right = others.get(f"gemm_{other.plan.machine.precision}")
    speeds = []
    for name, info in figures.items():
        if name not in others or others[name]["unit"] != info["unit"]:
            continue
        values = float(info["value"]), float(others[name]["value"])
        normalised = None
        # A ratio is divided already.
        if left and right and not name.startswith("gemm") and info["unit"] != "x":
            normalised = values[0] / float(left["value"]), values[1] / float(right["value"])
        speeds.append(Speed(name, info["unit"], values, normalised))
    return tuple(speeds)


def _figures(run: Run) -> dict[str, Record]:
    """Of the throughput suite, by name; empty if it was not measured."""
    return {str(speed["figure"]): speed for speed in run.speeds or ()}
