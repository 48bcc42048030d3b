"""Whether to give a claim up before all of its episodes are played."""

import functools

from scipy.special import ndtr

from bench.judge.pairing import Contrast
from bench.judge.power import boundaries, power_for
from bench.judge.rule import discordance_of
from bench.judge.stats.difference import score_interval
from bench.judge.stats.interim import chance_above
from bench.judge.stats.power import POWER
from bench.plan.document import Plan
from bench.plan.suite import Claim


def is_futile(plan: Plan, claim: Claim, found: Contrast, look: int, left: int) -> bool:
    """Whether the claim will hardly be shown or excluded by the last look.

    Shown: were the truth, for a gain, what is estimated now or the effect that is sought, whichever
    is better (where none is sought, the upper end of the interval); for equality, no difference at
    all. Excluded: were it what is estimated now.

    Non-obvious: no error is spent on this rule, so it can only make errors rarer, however rough.
    """
    assert found.estimate is not None
    fraction = plan.fractions[look - 1]
    bounds = boundaries(plan, plan.alpha / 2)
    se = _last_se(found, fraction, bounds[-1])
    above = functools.partial(chance_above, found.estimate, se, fraction)
    if claim.kind == "equivalence":
        assert claim.margin is not None
        room = claim.margin - boundaries(plan, plan.alpha)[-1] * se
        shown = above(0.0, -room) - above(0.0, room) if room > 0 else 0.0
        beyond = claim.margin + bounds[-1] * se
        excluded = above(found.estimate, beyond) + 1 - above(found.estimate, -beyond)
    else:
        truth = found.interval.upper if claim.effect is None else max(found.estimate, claim.effect)
        shown = above(truth, boundaries(plan, plan.alpha / left)[-1] * se)
        powered = (power_for(plan, claim, discordance_of(found)) or 0.0) >= POWER
        nothing = claim.effect if powered and claim.effect is not None else 0.0
        excluded = 1 - above(found.estimate, nothing - bounds[-1] * se)
    return shown < plan.schedule.futility and excluded < plan.schedule.futility


def _last_se(found: Contrast, fraction: float, bound: float) -> float:
    """Standard error of the estimate at the last look, if pairs go on to fall as they do. By the
    width of Tango's interval, which has one even where no pair is discordant."""
    left, right, pairs = (
        round(count / fraction) for count in (found.left_only, found.right_only, found.pairs)
    )
    last = score_interval(left, right, pairs, 1 - 2 * float(ndtr(-bound)))
    return (last.upper - last.lower) / (2 * bound) * max(found.design_effect, 1.0) ** 0.5
