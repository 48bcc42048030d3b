"""From the figures of one contrast to a decision."""

from bench.judge.pairing import Contrast
from bench.judge.power import Discordance, measured_discordance, power_for
from bench.judge.stats.difference import Interval
from bench.judge.stats.power import POWER
from bench.plan.document import Plan
from bench.plan.suite import Claim, Decision

Reading = tuple[Decision, bool]
"""A decision, and on which side of 0 the estimate lies where that is part of it."""


def decide(plan: Plan, claim: Claim, found: Contrast, rejects: bool) -> Reading:
    """The decision on a claim; `rejects`: whether a superiority claim's one-sided test does.
    Readings that exclude equivalence on opposite sides disagree: the side is part of a decision."""
    if claim.kind == "equivalence":
        assert claim.margin is not None
        decision = decide_equivalence(found.tost_interval, found.interval, claim.margin)
        return decision, (found.estimate or 0.0) > 0 if decision == "NOT SUPPORTED" else True
    if not rejects:
        power = power_for(plan, claim, discordance_of(found))
        return decide_superiority(found.interval, claim.effect, power), True
    if plan.method.seeds == "resampled" and found.interval.lower <= 0:
        # It holds for these checkpoints; the training seeds do not agree enough.
        return "INCONCLUSIVE", True
    return "SUPPORTED", True


def decide_superiority(
    interval: Interval, effect: float | None = None, power: float | None = None
) -> Decision:
    """Where the one-sided test does not reject. NOT SUPPORTED if the upper bound of the two-sided
    interval at 1 - alpha is not above 0, or below the `effect` that is sought and that the plan had
    the `power` to find."""
    excluded = (
        effect is not None and power is not None and power >= POWER and interval.upper < effect
    )
    return "NOT SUPPORTED" if interval.upper <= 0 or excluded else "INCONCLUSIVE"


def decide_equivalence(tost_interval: Interval, interval: Interval, margin: float) -> Decision:
    """SUPPORTED where the interval at 1 - 2 alpha lies inside +-margin (TOST); NOT SUPPORTED where
    the one at 1 - alpha lies outside."""
    if tost_interval.inside(margin):
        return "SUPPORTED"
    return (
        "NOT SUPPORTED" if interval.lower >= margin or interval.upper <= -margin else "INCONCLUSIVE"
    )


def discordance_of(found: Contrast) -> Discordance:
    """What the pairs of a contrast say about how many it takes."""
    return measured_discordance(found.left_only, found.right_only, found.pairs, found.design_effect)
