"""What the pairs of a run say about each claim of its plan, read after all of them or look by look
(``bench.judge.interim``)."""

from dataclasses import dataclass
from typing import Literal

from bench.judge.pairing import Contrast, Outcomes, RowsByCase, contrast, pair_outcomes
from bench.judge.rule import Reading, decide
from bench.judge.stats.difference import tost_confidence
from bench.judge.stats.holm import holm_adjusted
from bench.plan.document import Plan
from bench.plan.seeds import derive_seed
from bench.plan.suite import Claim

Confidences = tuple[float, float]
"""Of the interval that is shown, and of the one that shows equivalence."""
Ended = Literal["shown", "excluded", "futile", "all played"]
"""Why a claim of a sequential plan ended."""
READINGS = ("failures", "against", "for")
"""How broken episodes are read (`bench.judge.pairing.Outcomes.readings`)."""


@dataclass(frozen=True)
class Stop:
    """Where a claim of a sequential plan stands."""

    look: int
    """The look that it ended at; of one that goes on, the last that it was taken at, 0 for none."""
    of: int
    """Looks that the plan has."""
    ended: Ended | None
    """None while it goes on."""
    lead: int
    """Episodes that left alone solved less those that right alone solved, by that look."""
    boundary: int | None
    """The lead from which on the test rejects at that look, at the step of Holm's procedure that
    the claim has reached; None for a claim of equivalence and before the first look."""


@dataclass(frozen=True)
class Evidence:
    """What is known about one claim."""

    outcomes: Outcomes
    contrasts: dict[str, Contrast]
    """By reading."""
    p_adjusted: float | None
    """Holm over the asked superiority claims; None for equivalence and of a sequential plan, which
    has boundaries instead."""
    readings: tuple[Reading, ...]
    """The decision under each reading."""
    planned: int
    """Pairs that it takes."""
    complete: bool
    stop: Stop | None = None
    """Of a sequential plan."""


def fixed_evidence(plan: Plan, rows_by_case: RowsByCase) -> list[Evidence]:
    """Of every claim of a plan that plays all its episodes, in its order."""
    planned = len(plan.seeds) * len(plan.episodes)
    outcomes = [pair_outcomes(plan, rows_by_case, claim.left, claim.right) for claim in plan.claims]
    confidences = 1 - plan.alpha, tost_confidence(plan.alpha)
    contrasts = [
        read(plan, claim, found, confidences)
        for claim, found in zip(plan.claims, outcomes, strict=True)
    ]
    adjusted = {
        reading: _adjusted(plan, [readings[reading].p for readings in contrasts])
        for reading in READINGS
    }
    found = []
    for i, claim in enumerate(plan.claims):
        rejects = {
            reading: (p := adjusted[reading][i]) is not None and p <= plan.alpha
            for reading in adjusted
        }
        found.append(
            Evidence(
                outcomes=outcomes[i],
                contrasts=contrasts[i],
                p_adjusted=adjusted["failures"][i],
                readings=tuple(
                    decide(plan, claim, contrasts[i][reading], rejects[reading])
                    for reading in adjusted
                ),
                planned=planned,
                complete=claim.asked and contrasts[i]["failures"].pairs == planned,
            )
        )
    return found


def read(
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
            found[reading] = contrast(
                differences, outcomes.clusters, groups, confidences, resamples, seed
            )
    return found


def family(plan: Plan) -> list[int]:
    """Which claims Holm's procedure is over: those of superiority that are asked."""
    return [i for i, claim in enumerate(plan.claims) if claim.asked and claim.kind == "superiority"]


def _adjusted(plan: Plan, p_values: list[float]) -> list[float | None]:
    """Holm over the `family`. A claim without episodes has p = 1 and still counts."""
    members = family(plan)
    found: list[float | None] = [None] * len(p_values)
    for i, p in zip(members, holm_adjusted([p_values[i] for i in members]), strict=True):
        found[i] = p
    return found
