"""What a plan's number of episodes can show at best, and how many it would take to show more. Pure."""

from dataclasses import dataclass

from bench.plan import Plan
from bench.stats.difference import tost_confidence
from bench.stats.power import episodes_for_equivalence, episodes_for_gain, smallest_gain, smallest_wins
from bench.suite import Claim

GAINS = (0.05, 0.10, 0.20)
"""True gains for which the number of episodes is told."""


@dataclass(frozen=True)
class SuperiorityLimit:
    pairs: int
    wins: int | None
    """Fewest episodes that left must win, losing none, to be SUPPORTED; None: out of reach."""
    loss_rate: float
    """Assumed share of episodes that only the right rollout solves."""
    gain: float | None
    """Smallest true gain that is found four times in five; None: none is."""
    episodes: tuple[tuple[float, int | None], ...]
    """(true gain, pairs that find it four times in five)."""


@dataclass(frozen=True)
class EquivalenceLimit:
    pairs: int
    discordant_rate: float
    """Assumed share of episodes that only one of the two rollouts solves."""
    episodes: int | None
    """Pairs that show equivalence if no difference at all is observed; None: more than anyone plays."""


Limit = SuperiorityLimit | EquivalenceLimit


def limit_of(plan: Plan, claim: Claim, loss_rate: float = 0.0, discordant_rate: float = 0.0) -> Limit:
    """The limit of one claim; rates of 0 give the best case, rates observed in a run the likely one.

    Superiority is taken at the strictest level of Holm's procedure, alpha over the number of claims.
    """
    pairs = len(plan.seeds) * len(plan.episodes)
    if claim.kind == "equivalence":
        assert claim.margin is not None
        needed = episodes_for_equivalence(claim.margin, discordant_rate, tost_confidence(plan.alpha))
        return EquivalenceLimit(pairs, discordant_rate, needed)
    family = sum(other.asked and other.kind == "superiority" for other in plan.claims)
    alpha = plan.alpha / max(family, 1)
    return SuperiorityLimit(
        pairs=pairs,
        wins=smallest_wins(pairs, alpha),
        loss_rate=loss_rate,
        gain=smallest_gain(pairs, loss_rate, alpha),
        episodes=tuple((gain, episodes_for_gain(gain, loss_rate, alpha)) for gain in GAINS),
    )
