"""Which episodes of a plan are not recorded yet. Pure."""

from collections.abc import Mapping, Sequence

from bench.judge.progress import Progress, lacking, progress_of
from bench.plan.document import Plan
from wmvla.rollout.journal import Row

MOST_RANGES = 12
"""Ranges that one sentence names."""


def missing_episodes(
    plan: Plan, rows_by_case: Mapping[str, Sequence[Row]], progress: Progress | None = None
) -> dict[str, list[int]]:
    """Indices of the table's rows that each rollout case lacks up to where it is needed next.
    `progress` of these rows, if it is at hand."""
    looks = (progress or progress_of(plan, rows_by_case)).looks
    found = {}
    for case in plan.rollout_cases():
        indices = lacking(plan, rows_by_case.get(case.id, ()), looks[case.rollout])
        if len(indices):
            found[case.id] = indices.tolist()
    return found


def as_ranges(indices: Sequence[int], most: int = MOST_RANGES) -> str:
    """``0-3, 7, 9-10``: rising numbers; of more than `most` ranges the first and the last."""
    ranges: list[list[int]] = []
    for index in indices:
        if ranges and index == ranges[-1][1] + 1:
            ranges[-1][1] = index
        else:
            ranges.append([index, index])
    texts = [str(first) if first == last else f"{first}-{last}" for first, last in ranges]
    return ", ".join(texts if len(texts) <= most else [*texts[: most - 1], "...", texts[-1]])
