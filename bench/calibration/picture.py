"""The calibration in one picture: errors, power and coverage, each against what was promised."""

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.calibration.checks import Check
from wmvla.files import write_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KEPT, BROKEN, PROMISED = "#2563a8", "#c0392b", "#dddddd"
LABELS, PANEL, ROW = 4.0, 2.6, 0.25
"""Inches: room for a panel's labels, its width, the height of a row."""


def draw_picture(checks: Sequence[Check], title: str, path: Path) -> None:
    """Write a PNG. Of several alike in one scenario the worst is shown."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    simulated = [check for check in checks if check.part == "experiments"]
    family = {check.scenario for check in simulated if check.what.startswith("any of")}

    def is_shown(check: Check) -> bool:
        if check.kind != "error" or "NOT SUPPORTED" in check.what:
            return False
        return check.what.startswith(("any of", "E1")) or check.scenario not in family

    errors = [check for check in simulated if is_shown(check)]
    missed = [check for check in simulated if "wrongly NOT SUPPORTED" in check.what]
    covered = [check for check in simulated if check.kind == "coverage"]
    power = [check for check in simulated if check.kind == "power"]
    exact = [check for check in checks if check.part == "exact" and check.kind == "coverage"]
    panels = (
        (
            "Wrong decisions, grey: promised",
            [*errors, *_worst(missed, max, "a true claim NOT SUPPORTED")],
            (0, 15),
        ),
        ("Power, grey: as planned", power, (0, 100)),
        (
            "Intervals hold the truth, grey: promised",
            [*_worst(covered, min, "worst of four claims"), *exact],
            (80, 100),
        ),
    )
    width, height = 3 * (LABELS + PANEL) + 0.3, max(len(rows) for _, rows, _ in panels) * ROW + 1.4
    figure, axes = pyplot.subplots(1, 3, figsize=(width, height))
    figure.subplots_adjust(
        LABELS / width, 0.6 / height, 1 - 0.3 / width, 1 - 0.8 / height, wspace=LABELS / PANEL
    )
    for panel, (heading, rows, limits) in zip(axes, panels, strict=True):
        _panel(panel, heading, rows, limits)
    figure.suptitle(title, fontsize=12)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=100)
    pyplot.close(figure)
    write_file(path, drawn.getvalue())


def _worst(checks: Sequence[Check], choose: Callable[..., Check], what: str) -> list[Check]:
    by_scenario: dict[str, list[Check]] = {}
    for check in checks:
        by_scenario.setdefault(check.scenario, []).append(check)
    return [
        replace(choose(group, key=lambda check: check.share), what=what)
        for group in by_scenario.values()
    ]


def _panel(
    axes: "Axes", heading: str, checks: Sequence[Check], limits: tuple[float, float]
) -> None:
    """A row for each check: grey the promise, a dot with its Monte-Carlo interval the finding."""
    for row, check in enumerate(checks):
        low, high = 100 * max(0.0, check.at_least), 100 * min(1.0, check.at_most)
        if (low, high) != (0.0, 100.0):
            # A promise of one number is still to be seen.
            size = max(high - low, 0.004 * (limits[1] - limits[0]))
            axes.barh(row, size, left=low, height=0.8, color=PROMISED)
        colour, shown = KEPT if check.holds else BROKEN, 100 * check.share
        if check.interval is not None:
            ends = [100 * bound for bound in check.interval]
            axes.plot(ends, [row, row], color=colour, linewidth=2)
        marker = "D" if check.interval is None else "o"
        if limits[0] <= shown <= limits[1]:
            axes.plot(shown, row, marker, color=colour, markersize=5, clip_on=False)
        else:
            side = "right" if shown > limits[1] else "left"
            text = f" {shown:.0f} % "
            axes.text(limits[shown > limits[1]], row, text, ha=side, va="center")
    axes.set_yticks(
        range(len(checks)), [f"{check.scenario} | {check.what}" for check in checks], fontsize=8
    )
    axes.set_ylim(len(checks) - 0.4, -0.6)
    axes.set_xlim(*limits)
    axes.set_xlabel("%")
    axes.set_title(heading, fontsize=11)
    axes.set_axisbelow(True)
    axes.grid(axis="x", color="#eeeeee")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
