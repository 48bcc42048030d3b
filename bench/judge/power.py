"""What a plan's number of episodes can show at best, and how many would show more. Pure."""

import functools
import math
from dataclasses import dataclass

from bench.judge.stats.interim import drift_for, inflation, mean_share, nominal_confidence
from bench.judge.stats.power import (
    MOST_EPISODES,
    POWER,
    episodes_for_equivalence,
    episodes_for_gain,
    equivalence_power,
    gain_power,
    planning_rate,
    smallest_gain,
    smallest_wins,
)
from bench.judge.stats.sequential import normal_boundaries
from bench.judge.stats.spending import SPENDING
from bench.plan.document import Plan
from bench.plan.suite import Claim

GAINS = (0.02, 0.03, 0.05, 0.10)
"""True gains for which the number of episodes is reported."""


@dataclass(frozen=True)
class Discordance:
    """How often two rollouts do not agree on an episode: the episodes needed hang on it."""

    rate: float
    """Share of pairs that only one of the two would solve if they were equal."""
    design_effect: float = 1.0
    """How many pairs are worth one independent pair; above 1 where repeats end alike."""
    measured: int | None = None
    """Pairs that it was measured on; None: assumed."""
    found: int | None = None
    """Discordant pairs among them."""


ASSUMED = Discordance(0.2)
"""Two LIBERO policies that solve 85 to 90 % and fail unrelated disagree on a fifth of the pairs."""


@dataclass(frozen=True)
class SuperiorityLimit:
    pairs: int
    wins: int | None
    """Fewest episodes that left must win, losing none, to be SUPPORTED; None: out of reach."""
    discordance: Discordance
    gain: float | None
    """Smallest true gain that is found four times in five; None: none is."""
    gain_if_repeats_are_alike: float | None
    """The same, if all repeats of an initial state end alike; None also without repeats."""
    episodes: tuple[tuple[float, int | None], ...]
    """(true gain, pairs that find it four times in five)."""
    effect: float | None
    """The gain that the claim seeks."""
    power: float | None
    """Chance of finding it with `pairs`; None where none is named."""
    effect_episodes: int | None
    """Pairs that find it four times in five."""


@dataclass(frozen=True)
class EquivalenceLimit:
    pairs: int
    discordance: Discordance
    margin: float
    least: int | None
    """Pairs that show equivalence if none is discordant; None: more than anyone plays."""
    power: float
    """Chance that `pairs` show that equal rollouts are equal."""
    episodes: int | None
    """Pairs that show it four times in five."""


Limit = SuperiorityLimit | EquivalenceLimit


def limit_of(plan: Plan, claim: Claim, discordance: Discordance = ASSUMED) -> Limit:
    """The limit of one claim. Superiority is taken at the strictest level of Holm's procedure,
    alpha over the number of claims. Looks on the way cost some pairs, as many as they do where the
    chance is `POWER`."""
    pairs = pairs_of(plan)
    rate, worth = discordance.rate, discordance.design_effect * looks_cost(plan, claim)
    effective = int(pairs / worth)
    if claim.kind == "equivalence":
        assert claim.margin is not None
        confidence = last_tost_confidence(plan)
        return EquivalenceLimit(
            pairs=pairs,
            discordance=discordance,
            margin=claim.margin,
            least=episodes_for_equivalence(claim.margin, 0.0, confidence),
            power=equivalence_power(effective, claim.margin, rate, confidence),
            episodes=_inflated(episodes_for_equivalence(claim.margin, rate, confidence), worth),
        )
    alpha = strictest_level(plan)
    initial_states = len(plan.seeds) * plan.initial_states
    gains = (*GAINS, *((claim.effect,) if claim.effect is not None else ()))
    needed = {gain: _inflated(episodes_for_gain(gain, rate, alpha), worth) for gain in gains}
    return SuperiorityLimit(
        pairs=pairs,
        wins=smallest_wins(pairs, alpha),
        discordance=discordance,
        gain=smallest_gain(effective, rate, alpha),
        gain_if_repeats_are_alike=(
            smallest_gain(int(initial_states / looks_cost(plan, claim)), rate, alpha)
            if initial_states < pairs
            else None
        ),
        episodes=tuple((gain, needed[gain]) for gain in GAINS),
        effect=claim.effect,
        power=power_for(plan, claim, discordance),
        effect_episodes=None if claim.effect is None else needed[claim.effect],
    )


def power_for(plan: Plan, claim: Claim, discordance: Discordance) -> float | None:
    """Chance to find the effect that a claim seeks, at the strictest level; None if it has none."""
    if claim.effect is None:
        return None
    effective = int(pairs_of(plan) / (discordance.design_effect * looks_cost(plan, claim)))
    return gain_power(effective, claim.effect, discordance.rate, strictest_level(plan))


def looks_cost(plan: Plan, claim: Claim) -> float:
    """How many times the pairs of a plan with one look it takes to find a gain; 1 for equality,
    which is hardly ever shown before the last look."""
    if claim.kind == "equivalence":
        return 1.0
    return inflation(plan.fractions, spent_by_look(plan, strictest_level(plan)), POWER)


def last_tost_confidence(plan: Plan) -> float:
    """Confidence of the interval that shows equivalence at the last look. Non-obvious: equality is
    hardly shown earlier, so its chance is what others left the last look."""
    return confidence_at(plan, plan.alpha, plan.last_look)


def confidence_at(plan: Plan, alpha: float, look: int) -> float:
    """Confidence of the two-sided interval at a look whose intervals at all looks together miss the
    truth on one side with a chance of `alpha` at most."""
    return nominal_confidence(plan.fractions, spent_by_look(plan, alpha), look)


def boundaries(plan: Plan, alpha: float) -> tuple[float, ...]:
    """Of a standardised normal statistic at each look, one-sided at `alpha`."""
    return normal_boundaries(plan.fractions, spent_by_look(plan, alpha))


def spent_by_look(plan: Plan, alpha: float) -> tuple[float, ...]:
    """How much of the error `alpha` may have been spent by each look; by the last, all of it."""
    return _spent(plan.fractions, plan.schedule.spending, alpha)


@functools.cache
def _spent(shares: tuple[float, ...], spending: str, alpha: float) -> tuple[float, ...]:
    return (*(SPENDING[spending](share, alpha) for share in shares[:-1]), alpha)


def share_played(plan: Plan) -> float:
    """Mean share of its pairs after which a claim ends whose gain is found four times in five."""
    shares, spent = plan.fractions, spent_by_look(plan, strictest_level(plan))
    return mean_share(shares, spent, drift_for(shares, spent, POWER))


def strictest_level(plan: Plan) -> float:
    """Holm's first step: alpha over the number of superiority claims that are asked."""
    return plan.alpha / max(
        sum(claim.asked and claim.kind == "superiority" for claim in plan.claims), 1
    )


def pairs_of(plan: Plan) -> int:
    """Planned pairs of episodes of every claim, over all training seeds."""
    return len(plan.seeds) * len(plan.episodes)


def measured_discordance(
    left_only: int, right_only: int, pairs: int, design_effect: float = 1.0
) -> Discordance:
    """What played pairs say of the next ones (`planning_rate`); without pairs the assumed."""
    if pairs == 0:
        return ASSUMED
    discordant = left_only + right_only
    return Discordance(planning_rate(discordant, pairs), design_effect, pairs, discordant)


def _inflated(pairs: int | None, design_effect: float) -> int | None:
    if pairs is None or pairs * design_effect > MOST_EPISODES:
        return None
    return math.ceil(pairs * design_effect)
