"""Geometry of the figures: where things lie, in per cent of a plot's width and height. Pure numbers.

The templates draw them as inline SVG in those per cents, so that a figure fills any screen with text of a
readable size.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.pairs import broken, solved
from bench.plan import Plan
from bench.report.records import Record, Run

Content = dict[str, Any]

NICE_STEPS = (1, 2, 2.5, 5, 10)
MOST_CURVE_POINTS = 120
CURVES = (
    ("action_loss", "Action loss", "flow matching, the same in all arms"),
    ("world_cos", "World cosine", "predicted against true change of the latents"),
    ("world_gate", "Gate", "tanh(g), the weight of the memory"),
)

INKS = ("solid", "dashed", "dotted")
"""Styles of arms without memory."""
HUES = ("accent", "amber", "blue", "rose", "violet", "olive")
"""Styles of arms with memory."""
LINE_ORDER = (*HUES, *INKS)
"""Curves are drawn in this order: thin and broken lines over thick ones, so that equal curves can all be seen."""


@dataclass(frozen=True)
class Axis:
    """A linear axis from `lower` to `upper` with labelled `ticks`."""

    lower: float
    upper: float
    ticks: tuple[float, ...]

    def at(self, value: float) -> float:
        """Where `value` lies, in per cent of the axis, cut off at its ends."""
        share = (value - self.lower) / (self.upper - self.lower)
        return round(100 * min(1.0, max(0.0, share)), 3)


POINT = 1e-12
"""A span below this is one point: no quantity shown here is that small, and smaller powers of ten underflow."""


def nice_axis(lower: float, upper: float, ticks: int = 5) -> Axis:
    """The smallest axis with round ticks that holds both bounds, with about `ticks` steps."""
    size = max(abs(lower), abs(upper))
    if upper - lower <= max(1e-9 * size, POINT):
        around = 0.5 * size if size > POINT else 0.5
        lower, upper = lower - around, upper + around
    raw = (upper - lower) / ticks
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(nice * magnitude for nice in NICE_STEPS if nice * magnitude >= raw * (1 - 1e-9))
    first, last = math.floor(lower / step + 1e-9), math.ceil(upper / step - 1e-9)
    marks = tuple(float(f"{i * step:.12g}") for i in range(first, last + 1))
    return Axis(marks[0], marks[-1], marks)


def forest(claims: Sequence[Content]) -> Content:
    """Differences with both intervals and the margin on one symmetric axis of points."""
    shown = [claim for claim in claims if claim["difference"] is not None]
    reach = max(
        (
            abs(bound)
            for claim in shown
            for bound in (claim["interval"]["lower"], claim["interval"]["upper"], claim["margin"] or 0.0)
        ),
        default=0.1,
    )
    half = nice_axis(0.0, max(reach, 0.1), 4)
    axis = Axis(-half.upper, half.upper, tuple(-tick for tick in half.ticks[:0:-1]) + half.ticks)
    rows = []
    for claim in claims:
        row: Content = {"claim": claim, "margin": None, "marks": None}
        if claim["margin"] is not None:
            row["margin"] = (axis.at(-claim["margin"]), axis.at(claim["margin"]))
        if claim["difference"] is not None:
            row["marks"] = {
                "point": axis.at(claim["difference"]),
                "thin": (axis.at(claim["interval"]["lower"]), axis.at(claim["interval"]["upper"])),
                "thick": (axis.at(claim["tost_interval"]["lower"]), axis.at(claim["tost_interval"]["upper"])),
            }
        rows.append(row)
    return {"rows": rows, "ticks": [(axis.at(tick), tick) for tick in axis.ticks]}


def rates(content: Content) -> Content:
    """Success of each rollout with its Wilson interval, and the sanity floor."""
    axis = Axis(0.0, 1.0, (0.0, 0.2, 0.4, 0.6, 0.8, 1.0))
    rows = []
    for rate in content["rates"]:
        marks = None
        if rate["rate"] is not None:
            marks = {
                "point": axis.at(rate["rate"]),
                "thin": (axis.at(rate["lower"]), axis.at(rate["upper"])),
                "best": axis.at(rate["best_rate"]) if rate["best_rate"] > rate["rate"] else None,
                "seeds": [
                    axis.at(single["rate"]) for single in rate["seeds"] if len(rate["seeds"]) > 1 and single["rate"] is not None
                ],
            }
        gate = content["sanity"]
        floor = axis.at(gate["floor"]) if gate["rollout"] == rate["rollout"] else None
        rows.append({"rate": rate, "marks": marks, "floor": floor})
    return {"rows": rows, "ticks": [(axis.at(tick), tick) for tick in axis.ticks]}


def curves(run: Run) -> list[Content]:
    """One plot for each figure that any training has logged; a training is one path."""
    plots, styles = [], line_styles(run.plan)
    for key, title, says in CURVES:
        series = {case: points for case, lines in run.metrics.items() if len(points := binned(lines, key)) > 0}
        if not series:
            continue
        values = [value for points in series.values() for _, value in points]
        vertical = nice_axis(min(*values, 0.0), max(*values, 0.0), 3)
        horizontal = nice_axis(0.0, max(run.plan.recipe.training.steps, 1), 4)
        steps = float(run.plan.recipe.training.steps)
        horizontal = Axis(0.0, steps, tuple(tick for tick in horizontal.ticks if tick <= steps))
        paths = [
            _path(case, styles[str(run.plan.case(case).arm)], points, horizontal, vertical) for case, points in series.items()
        ]
        paths.sort(key=lambda path: LINE_ORDER.index(path["style"]))
        plots.append(
            {
                "title": title,
                "says": says,
                "paths": paths,
                "x_ticks": [(horizontal.at(tick), tick) for tick in horizontal.ticks],
                "y_ticks": [(100 - vertical.at(tick), tick) for tick in vertical.ticks],
            }
        )
    return plots


def prophet(run: Run, content: Content) -> Content | None:
    """Cosine over k, one path for each replayed training and one for the mean change; None where nothing was replayed."""
    replays = content["replays"]
    if not replays:
        return None
    styles = line_styles(run.plan)
    lines = [(replay["case"], styles[replay["arm"]], replay["prophet"]["cosine"]) for replay in replays]
    lines.append(("mean change", "baseline", replays[0]["prophet"]["mean_delta_cosine"]))
    values = [value for _, _, line in lines for value in line]
    horizon = len(lines[0][2])
    vertical = nice_axis(min(*values, 0.0), max(*values, 0.0), 4)
    horizontal = Axis(1.0, max(float(horizon), 2.0), tuple(float(k) for k in range(1, horizon + 1)))
    return {
        "title": "Cosine of predicted and true change",
        "says": "over k, the steps ahead",
        "paths": [_path(name, style, list(enumerate(line, start=1)), horizontal, vertical) for name, style, line in lines],
        "x_ticks": [(horizontal.at(tick), tick) for tick in horizontal.ticks],
        "y_ticks": [(100 - vertical.at(tick), tick) for tick in vertical.ticks],
    }


def _path(case: str, style: str, points: Sequence[tuple[float, float]], horizontal: Axis, vertical: Axis) -> Content:
    drawn = "L".join(f"{horizontal.at(x):g} {100 - vertical.at(y):g}" for x, y in points)
    return {"case": case, "style": style, "d": f"M{drawn}"}


def binned(lines: Sequence[Record], key: str) -> list[tuple[float, float]]:
    """At most `MOST_CURVE_POINTS` (step, value) means over equal runs of lines that have `key`."""
    points = [(line["step"], line[key]) for line in lines if isinstance(line.get(key), int | float)]
    size = math.ceil(len(points) / MOST_CURVE_POINTS) or 1
    chunks = [points[start : start + size] for start in range(0, len(points), size)]
    return [(sum(x for x, _ in chunk) / len(chunk), sum(y for _, y in chunk) / len(chunk)) for chunk in chunks]


def grids(run: Run) -> list[Content]:
    """For each training seed and task: rollouts down, initial states across, success in each cell.

    A cell sums up the repeats of its initial state. A column is discordant where not all rollouts that have played
    it agree.
    """
    plan, found = run.plan, []
    for seed in plan.seeds:
        cases = [case for case in plan.rollout_cases() if case.seed == seed]
        by_case = {case.id: {row["index"]: row for row in run.rows[case.id]} for case in cases}
        for task in plan.recipe.environment.tasks:
            columns: dict[int, list[int]] = {}
            for episode in plan.episodes:
                if episode.task == task:
                    columns.setdefault(episode.init, []).append(episode.index)
            cells = {
                case.id: [
                    _cell(case.id, init, [by_case[case.id].get(index) for index in indices])
                    for init, indices in columns.items()
                ]
                for case in cases
            }
            discordant = [
                len({column[i]["share"] for column in cells.values() if column[i]["share"] is not None}) > 1
                for i in range(len(columns))
            ]
            found.append(
                {
                    "seed": seed,
                    "task": task,
                    "inits": list(columns),
                    "discordant": discordant,
                    "rows": [{"rollout": case.rollout, "cells": cells[case.id]} for case in cases],
                }
            )
    return found


def _cell(case_id: str, init: int, rows: list[Record | None]) -> Content:
    played = [row for row in rows if row is not None]
    wins, failed = sum(map(solved, played)), sum(map(broken, played))
    told = f"{case_id}, init {init}: "
    if not played:
        told += "not played yet"
    elif len(rows) == 1:
        row = played[0]
        told += row["status"] if failed else f"{'solved' if wins else 'not solved'} in {row['steps']} steps"
    else:
        told += f"{wins} of {len(played)} solved" + (f", {failed} broken" if failed else "")
    share = round(wins / len(played), 3) if played else None
    return {"share": share, "broken": failed > 0, "title": told}


def line_styles(plan: Plan) -> dict[str, str]:
    """Style of each arm's curves: a colour where training memory holds something, ink for the others."""
    plain = [name for name, arm in plan.arms.items() if arm.memory in ("none", "zero")]
    coloured = [name for name in plan.arms if name not in plain]
    inks = {name: INKS[number % len(INKS)] for number, name in enumerate(plain)}
    return inks | {name: HUES[number % len(HUES)] for number, name in enumerate(coloured)}
