"""How far each rollout of a plan plays. Pure. A rollout ends with the last claim that needs it.
With one look this reads no outcome at all."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.judge.analysis import take_early_looks
from bench.judge.pairing import RowsByCase
from bench.judge.stats.rates import wilson_interval
from bench.plan.document import Plan
from bench.plan.suite import rollout_names
from wmvla.rollout.journal import Row, values
from wmvla.rollout.tally import tally


@dataclass(frozen=True)
class Progress:
    looks: dict[str, int]
    """Of each rollout, the look up to which its episodes are needed as far as is known now."""
    ends: dict[str, int]
    """Of each rollout, the look at which it ends; as long as that is open, the last."""


def progress_of(plan: Plan, rows_by_case: RowsByCase) -> Progress:
    """How far the recorded episodes say that each rollout must play."""
    claims = take_early_looks(plan, rows_by_case)
    looks, ends = {}, {}
    for rollout in rollout_names(plan.arms):
        asked = [
            i
            for i, claim in enumerate(plan.claims)
            if claim.asked and rollout in (claim.left, claim.right)
        ]
        wanted = [claims.ended[i] or claims.available[i] + 1 for i in asked] or [plan.last_look]
        gate, decided = _gate(plan, rows_by_case) if rollout == plan.sanity.rollout else (1, True)
        looks[rollout] = max(*wanted, gate)
        over = decided and all(claims.ended[i] for i in asked)
        ends[rollout] = looks[rollout] if over else plan.last_look
    return Progress(looks, ends)


def wanted_looks(
    plan: Plan, rows_by_case: RowsByCase, progress: Progress | None = None
) -> dict[str, int]:
    """For each rollout case that lacks needed episodes, the look that needs them."""
    looks = (progress or progress_of(plan, rows_by_case)).looks
    found = {}
    for case in plan.rollout_cases():
        look = looks[case.rollout]
        if len(lacking(plan, rows_by_case.get(case.id, ()), look)):
            found[case.id] = look
    return found


def lacking(plan: Plan, rows: Sequence[Row], look: int) -> NDArray[np.int64]:
    """Indices of the table's rows that are to be played by a look and are not among `rows`."""
    wanted = plan.table["index"][plan.chosen_until(look)]
    return np.setdiff1d(wanted, values(rows, "index"), assume_unique=True)


def _gate(plan: Plan, rows_by_case: RowsByCase) -> tuple[int, bool]:
    """The look up to which the sanity gate needs its rollout, and whether it is over by then."""
    for look in range(1, plan.last_look):
        wanted = {row.index for row in plan.rows_until(look)}
        played = tally(
            [
                row
                for case in plan.rollout_cases(plan.sanity.rollout)
                for row in rows_by_case.get(case.id, ())
                if row["index"] in wanted
            ]
        )
        if played.episodes < len(plan.seeds) * len(wanted):
            return look, False
        low, high = wilson_interval(played.successes, played.episodes, 1 - plan.alpha)
        if not low <= plan.sanity.floor <= high:
            return look, True
    return plan.last_look, True
