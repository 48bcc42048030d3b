"""Geometry of the plots of differences and of rates, in per cent of a plot's width, which the
templates draw as inline SVG: a figure fills any screen with text of a readable size. Pure.
"""

from collections.abc import Sequence
from typing import Any

from bench.report.drawings.axes import Axis, nice_axis

Content = dict[str, Any]


def forest(claims: Sequence[Content]) -> Content:
    """Differences with both intervals, margin or sought gain, on one symmetric axis of points."""
    bounds = []
    for claim in claims:
        if claim["difference"] is not None:
            bounds += [claim["interval"]["lower"], claim["interval"]["upper"]]
            bounds.append(claim["margin"] or claim["effect"] or 0.0)
    reach = max(map(abs, bounds), default=0.1)
    half = nice_axis(0.0, max(reach, 0.1), 4)
    axis = Axis(-half.upper, half.upper, tuple(-tick for tick in half.ticks[:0:-1]) + half.ticks)
    rows = []
    for claim in claims:
        row: Content = {"claim": claim, "margin": None, "effect": None, "marks": None}
        if claim["margin"] is not None:
            row["margin"] = (axis.at(-claim["margin"]), axis.at(claim["margin"]))
        if claim["effect"] is not None:
            row["effect"] = axis.at(claim["effect"])
        if claim["difference"] is not None:
            thin, thick = claim["interval"], claim["tost_interval"]
            row["marks"] = {
                "point": axis.at(claim["difference"]),
                "thin": (axis.at(thin["lower"]), axis.at(thin["upper"])),
                "thick": (axis.at(thick["lower"]), axis.at(thick["upper"])),
            }
        rows.append(row)
    return {"rows": rows, "ticks": axis.marks()}


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
                    axis.at(single["rate"])
                    for single in rate["seeds"]
                    if len(rate["seeds"]) > 1 and single["rate"] is not None
                ],
            }
        gate = content["sanity"]
        floor = axis.at(gate["floor"]) if gate["rollout"] == rate["rollout"] else None
        rows.append({"rate": rate, "marks": marks, "floor": floor})
    return {"rows": rows, "ticks": axis.marks()}
