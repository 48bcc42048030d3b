"""How numbers look everywhere: differences in points (hundredths of a rate), rates in per cent."""

from bench.judge.stats.difference import Interval


def percent(rate: float | None) -> str:
    return "-" if rate is None else f"{100 * rate:.1f} %"


def points(difference: float | None) -> str:
    """A signed difference; plain 0.0 has no sign."""
    if difference is None:
        return "-"
    rounded = round(100 * difference, 1)
    return f"{rounded:+.1f}" if rounded else "0.0"


def interval_points(interval: Interval) -> str:
    return f"{points(interval.lower)} to {points(interval.upper)}"


def interval_json(interval: Interval) -> dict[str, float]:
    return {key: getattr(interval, key) for key in ("confidence", "lower", "upper")}


def p_value(p: float | None) -> str:
    """As it stands in a table: ``0.03``, ``0.0042``, ``< 0.0001``."""
    if p is None:
        return "-"
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}" if p < 0.01 else f"{p:.2f}"


def count(episodes: int | None) -> str:
    return "more than 100000" if episodes is None else str(episodes)


def hours_text(hours: float) -> str:
    return f"{hours:.2g}" if hours < 10 else f"{hours:.0f}"
