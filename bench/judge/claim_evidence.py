"""What the pairs of a run say about one claim, at the last look that it was taken at."""

from dataclasses import dataclass
from typing import Literal

from bench.judge.pairing import Contrast, Outcomes
from bench.judge.power import confidence_at
from bench.judge.rule import Reading
from bench.plan.document import Plan
from bench.plan.seeds import derive_seed
from bench.plan.suite import Claim

Confidences = tuple[float, float]
"""Of the interval that is shown, and of the one that shows equivalence."""
Ended = Literal["shown", "excluded", "futile", "all played"]
"""Why a claim ended."""
READINGS = ("failures", "against", "for")
"""How broken episodes are read (`bench.judge.pairing.Outcomes.readings`)."""


@dataclass(frozen=True)
class Stop:
    look: int
    """The look that it ended at; of one that goes on, the last that it was taken at, 0 for none."""
    of: int
    """Looks that the plan has; a plan of fixed size has one."""
    ended: Ended | None
    """None while it goes on."""
    lead: int
    """Episodes that left alone solved less those that right alone solved, by that look."""
    boundary: int | None
    """The lead from which on the test rejects at that look, at the step of Holm's procedure that
    the claim has reached; None for a claim of equivalence and before the first look."""

    @property
    def decided_early(self) -> bool:
        """Whether it was shown or excluded before all of its episodes were played."""
        return self.ended in ("shown", "excluded") and self.look < self.of


@dataclass(frozen=True)
class ClaimEvidence:
    outcomes: Outcomes
    contrasts: dict[str, Contrast]
    """By reading."""
    p_adjusted: float | None
    """Holm over the asked superiority claims; None for equivalence. It decides nothing: a p value
    at or below alpha goes with a lead at or above the boundary of a plan with one look. With
    several looks it means nothing and is None."""
    readings: tuple[Reading, ...]
    """The decision under each reading; empty before the first look."""
    planned: int
    """Pairs that it takes."""
    stop: Stop

    @property
    def complete(self) -> bool:
        return self.stop.ended is not None


def contrasts_at(plan: Plan, claim: Claim, outcomes: Outcomes, look: int) -> dict[str, Contrast]:
    """The contrasts at a look; repeated intervals bear their confidence over all looks."""
    return contrast_readings(
        plan,
        claim,
        outcomes,
        (confidence_at(plan, plan.alpha / 2, look), confidence_at(plan, plan.alpha, look)),
    )


def contrast_readings(
    plan: Plan, claim: Claim, outcomes: Outcomes, confidences: Confidences
) -> dict[str, Contrast]:
    """The contrast with broken episodes read in each way; one and the same where none is broken."""
    seed = derive_seed(plan.hash, "bootstrap", claim.id)
    groups = outcomes.seeds if plan.method.seeds == "resampled" else None
    resamples = plan.method.bootstrap_resamples
    found: dict[str, Contrast] = {}
    for reading, differences in outcomes.readings().items():
        if found and not outcomes.broken:
            found[reading] = found["failures"]
        else:
            found[reading] = Contrast(
                differences, outcomes.clusters, groups, plan.alpha, confidences, resamples, seed
            )
    return found
