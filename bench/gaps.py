"""Which episodes of a plan are not recorded yet. Pure."""

from collections.abc import Mapping, Sequence

from bench.plan import Plan
from wmvla.rollout.journal import Row


def missing_episodes(plan: Plan, rows_by_case: Mapping[str, Sequence[Row]]) -> dict[str, list[int]]:
    """Indices of the table's rows that lack in each rollout case, in order; cases that lack none are left out."""
    found = {}
    for case in plan.rollout_cases():
        recorded = {row["index"] for row in rows_by_case.get(case.id, ())}
        lacking = [episode.index for episode in plan.episodes if episode.index not in recorded]
        if lacking:
            found[case.id] = lacking
    return found


def as_ranges(indices: Sequence[int]) -> str:
    """``0-3, 7, 9-10``: rising numbers, neighbours drawn together."""
    ranges: list[list[int]] = []
    for index in indices:
        if ranges and index == ranges[-1][1] + 1:
            ranges[-1][1] = index
        else:
            ranges.append([index, index])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)
