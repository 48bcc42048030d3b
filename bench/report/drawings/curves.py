"""Geometry of curves: trainings over steps, the Prophet over k; in per cent of a plot. Pure."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from bench.plan.document import Plan
from bench.record.run import Record, Run
from bench.report.drawings.axes import Axis, nice_axis

Content = dict[str, Any]
Points = list[tuple[float, float]]

MOST_CURVE_POINTS = 120
CURVES = (
    ("loss", "Loss", "what is minimised: with world parts their loss too"),
    ("action_loss", "Action loss", "flow matching, the same in all arms"),
    ("world_cos", "World cosine", "predicted against true change of the latents"),
    ("world_gate", "Gate", "tanh(g), the weight of the memory"),
)
CURVES_BY_K = (
    ("world_cos_k", "World cosine by k", "Each line is one k, the steps ahead"),
    (
        "world_attn_k",
        "Attention mass by k",
        "Each line is one k: the share of the attention that this step of the memory gets",
    ),
)

INKS = ("solid", "dashed", "dotted")
"""Styles of arms without memory."""
HUES = ("accent", "amber", "blue", "rose", "violet", "olive")
"""Styles of arms with memory."""
LINE_ORDER = (*HUES, *INKS)
"""Curves are drawn in this order: thin and broken lines last, so that equal ones are all seen."""


def curves(run: Run) -> list[Content]:
    """One plot for each figure that any training has logged; a training is one path."""
    plots, styles = [], line_styles(run.plan)
    for key, title, says in CURVES:
        series = {
            case: points for case, lines in run.metrics.items() if (points := binned(lines, key))
        }
        if not series:
            continue
        horizontal, vertical = _steps_axis(run.plan), _values_axis(series.values())
        paths = [
            _path(case, styles[str(run.plan.case(case).arm)], points, horizontal, vertical)
            for case, points in series.items()
        ]
        paths.sort(key=lambda path: LINE_ORDER.index(path["style"]))
        plots.append({"title": title, "says": says, "paths": paths, **_ticks(horizontal, vertical)})
    return plots


def curves_by_k(run: Run) -> list[Content]:
    """For each figure that is logged by k, one panel an arm, all on the same axes; a line is one k,
    its ``shade`` 0 to 1. Of several training seeds the mean over those that logged the step.
    """
    found = []
    for key, title, says in CURVES_BY_K:
        by_arm = {arm: lines for arm in run.plan.arms if (lines := _lines_by_k(run, arm, key))}
        if not by_arm:
            continue
        horizontal = _steps_axis(run.plan)
        vertical = _values_axis([points for lines in by_arm.values() for points in lines])
        panels = []
        for arm, lines in by_arm.items():
            paths = [
                {
                    **_path(f"k = {k}", "shade", points, horizontal, vertical),
                    "shade": _shade(k, len(lines)),
                }
                for k, points in enumerate(lines, start=1)
            ]
            ticks = _ticks(horizontal, vertical)
            panels.append({"title": arm, "says": says, "paths": paths, **ticks})
        horizon = max(len(lines) for lines in by_arm.values())
        keys = [(k, _shade(k, horizon)) for k in range(1, horizon + 1)]
        found.append({"title": title, "says": says, "panels": panels, "keys": keys})
    return found


def prophet(run: Run, content: Content) -> Content | None:
    """Cosine over k: a path for each replayed training and one for the mean change, if any."""
    replays = content["replays"]
    if not replays:
        return None
    styles = line_styles(run.plan)
    lines = [
        (replay["case"], styles[replay["arm"]], replay["prophet"]["cosine"]) for replay in replays
    ]
    lines.sort(key=lambda line: LINE_ORDER.index(line[1]))
    lines.append(("mean change", "baseline", replays[0]["prophet"]["mean_delta_cosine"]))
    horizon = len(lines[0][2])
    vertical = _values_axis([[(0.0, value) for value in line] for _, _, line in lines])
    horizontal = Axis(1.0, max(float(horizon), 2.0), tuple(float(k) for k in range(1, horizon + 1)))
    return {
        "title": "Cosine of predicted and true change",
        "says": "over k, the steps ahead",
        "paths": [
            _path(name, style, list(enumerate(line, start=1)), horizontal, vertical)
            for name, style, line in lines
        ],
        **_ticks(horizontal, vertical),
    }


def binned(lines: Sequence[Record], key: str) -> Points:
    """At most `MOST_CURVE_POINTS` (step, value) means over the lines with a number under `key`."""
    return _binned([(line["step"], line[key]) for line in lines if is_number(line.get(key))])


def is_number(value: object) -> bool:
    """Whether a logged value can be drawn."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def line_styles(plan: Plan) -> dict[str, str]:
    """Style of each arm's curves: a colour if training memory holds something, else ink."""
    plain = [name for name, arm in plan.arms.items() if arm.memory in ("none", "zero")]
    coloured = [name for name in plan.arms if name not in plain]
    inks = {name: INKS[number % len(INKS)] for number, name in enumerate(plain)}
    return inks | {name: HUES[number % len(HUES)] for number, name in enumerate(coloured)}


def _lines_by_k(run: Run, arm: str, key: str) -> list[Points]:
    """The points of each k from 1 on, or none."""
    by_step: dict[int, list[list[float]]] = {}
    for case_id, lines in run.metrics.items():
        if run.plan.case(case_id).arm == arm:
            for line in lines:
                values = line.get(key)
                if isinstance(values, list) and values and all(map(is_number, values)):
                    by_step.setdefault(line["step"], []).append(values)
    if not by_step:
        return []
    horizon = min(len(values) for each in by_step.values() for values in each)
    means = (
        [
            (step, sum(values[k] for values in each) / len(each))
            for step, each in sorted(by_step.items())
        ]
        for k in range(horizon)
    )
    return [_binned(points) for points in means]


def _binned(points: Sequence[tuple[float, float]]) -> Points:
    size = math.ceil(len(points) / MOST_CURVE_POINTS) or 1
    chunks = [points[start : start + size] for start in range(0, len(points), size)]
    return [
        (sum(x for x, _ in chunk) / len(chunk), sum(y for _, y in chunk) / len(chunk))
        for chunk in chunks
    ]


def _shade(k: int, horizon: int) -> float:
    """0 of the first step ahead, 1 of the last."""
    return round((k - 1) / (horizon - 1), 3) if horizon > 1 else 1.0


def _steps_axis(plan: Plan) -> Axis:
    steps = float(plan.recipe.training.steps)
    ticks = nice_axis(0.0, max(steps, 1.0), 4).ticks
    return Axis(0.0, steps, tuple(tick for tick in ticks if tick <= steps))


def _values_axis(series: Iterable[Points]) -> Axis:
    """An axis that holds 0 and all values."""
    values = [value for points in series for _, value in points]
    return nice_axis(min(*values, 0.0), max(*values, 0.0), 3)


def _ticks(horizontal: Axis, vertical: Axis) -> Content:
    return {
        "x_ticks": horizontal.marks(),
        "y_ticks": [(round(100 - at, 3), tick) for at, tick in vertical.marks()],
    }


def _path(
    name: str, style: str, points: Sequence[tuple[float, float]], horizontal: Axis, vertical: Axis
) -> Content:
    drawn = "L".join(f"{horizontal.at(x):.4g} {100 - vertical.at(y):.4g}" for x, y in points)
    return {"case": name, "style": style, "d": f"M{drawn}"}
