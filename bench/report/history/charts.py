"""Where the marks of a history's charts stand. Pure: figures in, coordinates out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 720.0, 220.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 12.0, 10.0, 30.0
SHAPES = ("circle", "square", "diamond", "triangle", "cross", "ring")
"""Series differ in shape and colour, so that neither alone must be seen."""
MOST_LABELS = 8


@dataclass(frozen=True)
class Value:
    value: float
    lower: float | None = None
    upper: float | None = None


@dataclass(frozen=True)
class Series:
    name: str
    values: tuple[Value | None, ...]
    """One for each run of the chart, in its order."""


@dataclass(frozen=True)
class Mark:
    x: float
    y: float
    low: float | None
    high: float | None
    text: str


@dataclass(frozen=True)
class Line:
    name: str
    shape: str
    colour: int
    marks: tuple[Mark, ...]
    path: str
    """Through runs of one plan alone: those of another are no continuation."""


@dataclass(frozen=True)
class Chart:
    title: str
    text: str
    """All figures as text, for who cannot see the drawing."""
    lines: tuple[Line, ...]
    grid: tuple[tuple[float, str], ...]
    """Height and label."""
    labels: tuple[tuple[float, str], ...]
    """Place and date."""


def draw(
    title: str,
    unit: str,
    dates: Sequence[str],
    plans: Sequence[str],
    series: Sequence[Series],
    most: float,
) -> Chart:
    """A chart of `series` over runs at even distances, 0 to `most`; equal `plans` are joined."""
    number = len(dates)
    slot = (WIDTH - LEFT - RIGHT) / number
    centres = [LEFT + slot * (i + 0.5) for i in range(number)]
    spread = min(slot * 0.6, 12.0 * len(series)) / max(1, len(series))

    def height(value: float) -> float:
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - min(value, most) / most), 2)

    lines = []
    for place, one in enumerate(series):
        shift = spread * (place - (len(series) - 1) / 2)
        marks: list[Mark] = []
        path, last_plan = "", None
        for i, value in enumerate(one.values):
            if value is None:
                continue
            x, y = round(centres[i] + shift, 2), height(value.value)
            low = None if value.lower is None else height(value.lower)
            high = None if value.upper is None else height(value.upper)
            marks.append(Mark(x, y, low, high, f"{one.name}, {dates[i]}: {value.value:.4g} {unit}"))
            path += f"{'L' if last_plan == plans[i] else 'M'}{x} {y}"
            last_plan = plans[i]
        style = place % len(SHAPES)
        lines.append(Line(one.name, SHAPES[style], style, tuple(marks), path))
    text = "; ".join(mark.text for line in lines for mark in line.marks)
    every = math.ceil(number / MOST_LABELS)
    labels = tuple((round(centres[i], 2), dates[i]) for i in range(0, number, every))
    grid = tuple((height(most * part / 4), f"{most * part / 4:.3g}") for part in range(5))
    return Chart(title, text, tuple(lines), grid, labels)


def ceiling(values: Sequence[float]) -> float:
    """A round number that no value is above."""
    largest = max(values, default=1.0) or 1.0
    step = 10.0 ** math.floor(math.log10(largest))
    return next(step * factor for factor in (1, 2, 4, 8, 10) if step * factor >= largest)
