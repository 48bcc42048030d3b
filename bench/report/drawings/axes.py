"""Linear axes with round ticks. Positions are in per cent of a plot's width or height. Pure."""

import math
from dataclasses import dataclass

NICE_STEPS = (1, 2, 2.5, 5, 10)
POINT = 1e-12
"""A span below this is one point: nothing shown here is smaller, and powers of ten underflow."""


@dataclass(frozen=True)
class Axis:
    lower: float
    upper: float
    ticks: tuple[float, ...]

    def at(self, value: float) -> float:
        """Where `value` lies, in per cent of the axis, cut off at its ends."""
        share = (value - self.lower) / (self.upper - self.lower)
        return round(100 * min(1.0, max(0.0, share)), 3)

    def marks(self) -> list[tuple[float, float]]:
        """Position and value of each tick."""
        return [(self.at(tick), tick) for tick in self.ticks]


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
