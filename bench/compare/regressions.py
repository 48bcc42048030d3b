"""Compares later runs with a baseline. Pure: what was read in, findings out.

A regression is a loss beyond the threshold that is shown at alpha, by Holm's procedure over all
comparisons. If none is shown, ``not_excluded`` is the loss that may still be there.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.compare.candidates import (
    UNPLAYED,
    Candidate,
    LeftOut,
    paired_candidates,
    unpaired_candidates,
)
from bench.compare.common_episodes import pair_runs
from bench.compare.sides import Side
from bench.judge.claim_evidence import READINGS
from bench.judge.stats.difference import Interval, tost_confidence
from bench.judge.stats.holm import holm_adjusted, holm_rejected
from bench.judge.stats.power import planning_rate, smallest_gain
from wmvla.errors import UserError

MOST_REASONS = 3
Status = Literal["regression", "broken", "incomplete", "none shown"]
"""``broken``: errors or timeouts decide. ``incomplete``: none so far, but episodes are missing."""


@dataclass(frozen=True)
class Compared:
    candidate: Candidate
    status: Status
    difference: float
    """Later minus baseline; tasks with other shares of the episodes weigh the same in both."""
    interval: Interval
    """At 1 - alpha, of this rollout alone."""
    p: float
    """One-sided, of a loss."""
    p_adjusted: float
    """Holm over everything that is compared."""
    not_excluded: float
    """Loss up to which the one-sided interval at 1 - alpha reaches; 0 where none is left."""
    findable: float | None
    """Least loss that so many pairs show four times in five at Holm's first level, if any."""


@dataclass(frozen=True)
class Comparison:
    sides: tuple[Side, ...]
    alpha: float
    threshold: float
    rollouts: tuple[Compared, ...]
    left_out: tuple[LeftOut, ...]
    unpaired_because: Mapping[str, str]
    """By later side why its episodes are no pairs."""
    common: Mapping[str, tuple[int, int]]
    """By paired run how many episodes of the baseline's table it has in common, of how many."""

    @property
    def passes(self) -> bool:
        """No regression is shown, and nothing is missing that could show one."""
        return not self.unplayed and all(each.status == "none shown" for each in self.rollouts)

    @property
    def unplayed(self) -> list[str]:
        """Rollouts that are in both plans, and of which no common episode is finished."""
        return list(dict.fromkeys(name for _, name, why in self.left_out if why == UNPLAYED))


def compare(sides: Sequence[Side], threshold: float = 0.0, unpaired: bool = False) -> Comparison:
    """Compare all later sides with the first, episode by episode where the plans allow. UserError
    where one cannot be compared at all, or only ``unpaired``, which was not asked for."""
    baseline, *others = sides
    assert baseline.run is not None
    candidates: list[Candidate] = []
    left_out: list[LeftOut] = []
    because: dict[str, str] = {}
    common: dict[str, tuple[int, int]] = {}
    for side in others:
        pairing = (
            pair_runs(baseline.run, side.run)
            if side.run
            else f"{side.name} has no single episodes, only success rates"
        )
        if not isinstance(pairing, str):
            common[side.name] = len(pairing.plan.episodes), len(baseline.run.plan.episodes)
            found, out = paired_candidates(pairing, baseline, side)
        elif unpaired:
            because[side.name] = pairing
            found, out = unpaired_candidates(baseline, side)
        else:
            raise UserError(
                f"{baseline.name} and {side.name} cannot be paired: {pairing}; give --unpaired to"
                " compare them as they are"
            )
        if not found:
            reasons = list(dict.fromkeys(f"{name}: {why}" for _, name, why in out))
            more = len(reasons) - MOST_REASONS
            raise UserError(
                f"{baseline.name} and {side.name} have nothing that can be compared: "
                + "; ".join(reasons[:MOST_REASONS])
                + (f"; and {more} more reasons" if more > 0 else "")
            )
        candidates += found
        left_out += out
    alpha = baseline.run.plan.alpha
    rollouts = _weigh(candidates, alpha, threshold)
    return Comparison(
        tuple(sides), alpha, threshold, tuple(rollouts), tuple(left_out), because, common
    )


def _weigh(candidates: Sequence[Candidate], alpha: float, threshold: float) -> list[Compared]:
    adjusted = holm_adjusted([each.evidence["failures"].p for each in candidates])
    rejected = {
        reading: holm_rejected(
            [
                functools.partial(each.evidence[reading].loses_more_than, threshold)
                for each in candidates
            ],
            alpha,
        )
        for reading in READINGS
    }
    found = []
    for i, candidate in enumerate(candidates):
        losses = [rejected[reading][i] for reading in READINGS]
        status: Status = "incomplete" if candidate.missing else "none shown"
        if any(losses):
            status = "regression" if all(losses) else "broken"
        shown = candidate.evidence["failures"]
        found.append(
            Compared(
                candidate=candidate,
                status=status,
                difference=shown.difference,
                interval=shown.interval(1 - alpha),
                p=shown.p,
                p_adjusted=adjusted[i],
                not_excluded=max(0.0, -shown.interval(tost_confidence(alpha)).lower),
                findable=_findable(candidate, alpha / len(candidates)),
            )
        )
    return found


def _findable(candidate: Candidate, level: float) -> float | None:
    if candidate.won is None or candidate.lost is None:
        return None
    pairs = candidate.later.episodes
    return smallest_gain(pairs, planning_rate(candidate.won + candidate.lost, pairs), level)
