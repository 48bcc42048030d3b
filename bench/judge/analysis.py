"""The rule by which every plan's claims are decided: look by look at the recorded episodes.

A plan of fixed size has one look, when all episodes are there; a sequential one has more. A claim
ends when it is shown, excluded, or hardly to be decided, or with the last look. Nothing is
remembered between looks, so a killed run goes on as an uninterrupted one would.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.judge.claim_evidence import READINGS, ClaimEvidence, Ended, Stop, contrasts_at
from bench.judge.futility import is_futile
from bench.judge.pairing import Contrast, Outcomes, RowsByCase, pair_all
from bench.judge.power import spent_by_look
from bench.judge.rule import Reading, decide
from bench.judge.stats.holm import holm_adjusted
from bench.judge.stats.sequential import flip_boundaries
from bench.plan.document import Plan
from bench.plan.suite import Claim


@dataclass(frozen=True)
class _LeadTest:
    """The one-sided test of one claim under one reading of broken episodes."""

    leads: tuple[int, ...]
    """Episodes won less episodes lost by each look that is there."""
    boundaries: tuple[tuple[int, ...], ...]
    """From which lead on the test rejects at each look, at alpha, at alpha / 2, at alpha / 3 ..."""

    def crossed(self, look: int, left: int) -> bool:
        """Whether it has rejected by that look, if Holm's family has `left` claims left."""
        return any(
            lead >= bound
            for lead, bound in zip(self.leads[:look], self.boundaries[left - 1], strict=False)
        )


@dataclass(frozen=True)
class _State:
    """A claim at the last look that it was taken at."""

    look: int
    outcomes: Outcomes
    contrasts: dict[str, Contrast]
    readings: tuple[Reading, ...] = ()
    boundary: int | None = None
    ended: Ended | None = None


@dataclass(frozen=True)
class Looks:
    """What came of looks at each claim, in the plan's order."""

    available: tuple[int, ...]
    """How many of them have all pairs of the claim; 0 of one that is not asked."""
    ended: tuple[int | None, ...]
    """The look at which the claim ended; None while it goes on."""


def analyse(plan: Plan, rows_by_case: RowsByCase) -> tuple[ClaimEvidence, ...]:
    """What every look that the recorded episodes allow says of each claim, in the plan's order."""
    pairs = pair_all(plan, rows_by_case, [(claim.left, claim.right) for claim in plan.claims])
    states, _ = _take_looks(plan, pairs, plan.last_look)
    found = [
        states.get(i) or _State(0, pairs[i], contrasts_at(plan, claim, pairs[i], 1))
        for i, claim in enumerate(plan.claims)
    ]
    adjusted = _adjusted(plan, [state.contrasts["failures"].p for state in found])
    return tuple(_evidence(plan, state, p) for state, p in zip(found, adjusted, strict=True))


def take_early_looks(plan: Plan, rows_by_case: RowsByCase) -> Looks:
    """The looks before the last, which decide how far a rollout plays."""
    early = plan.last_look - 1
    if not early:
        return Looks((0,) * len(plan.claims), (None,) * len(plan.claims))
    pairs = pair_all(plan, rows_by_case, [(claim.left, claim.right) for claim in plan.claims])
    states, available = _take_looks(plan, pairs, early)
    ended = [states[i].look if i in states and states[i].ended else None for i in range(len(pairs))]
    return Looks(tuple(available), tuple(ended))


def family(plan: Plan) -> list[int]:
    """Which claims Holm's procedure is over: those of superiority that are asked."""
    return [i for i, claim in enumerate(plan.claims) if claim.asked and claim.kind == "superiority"]


def _take_looks(
    plan: Plan, pairs: Sequence[Outcomes], last: int
) -> tuple[dict[int, _State], list[int]]:
    """The claims that were taken at a look up to `last`, and how many looks have all their pairs.

    Non-obvious: at a look that some claims have reached and others have not, Holm's procedure takes
    the others as not rejected. At the plan's last look it takes them by the pairs that they have.
    That decides nothing about them, and nothing about the whole, which waits for them.
    """
    until = [plan.chosen_until(look) for look in range(last + 1)]
    available = [
        _available(plan, found, until) if claim.asked else 0
        for claim, found in zip(plan.claims, pairs, strict=True)
    ]
    reached = [min(number + (last == plan.last_look), last) for number in available]
    tests = {i: _tests(plan, pairs[i], until[: reached[i] + 1]) for i in family(plan)}
    states: dict[int, _State] = {}
    rejected: dict[str, set[int]] = {reading: set() for reading in READINGS}
    for look in range(1, last + 1):
        going = [i for i in range(len(pairs)) if i not in states or not states[i].ended]
        tested = available if look < plan.last_look else reached
        for reading in READINGS:
            _reject(
                rejected[reading],
                {i: tests[i][reading] for i in going if i in tests and tested[i] >= look},
                len(tests),
                look,
            )
        for i in going:
            if available[i] < look:
                continue
            left = len(tests) - len(rejected["failures"] - {i})
            boundary = tests[i]["failures"].boundaries[left - 1][look - 1] if i in tests else None
            rejects = [i in rejected[reading] for reading in READINGS]
            states[i] = _take(
                plan, plan.claims[i], pairs[i].among(until[look]), look, rejects, left, boundary
            )
    return states, available


def _available(plan: Plan, pairs: Outcomes, until: Sequence[NDArray[np.bool_]]) -> int:
    """How many looks have all their pairs."""
    whole = [
        int(chosen[pairs.rows].sum()) == len(plan.seeds) * int(chosen.sum()) for chosen in until[1:]
    ]
    return whole.index(False) if False in whole else len(whole)


def _tests(plan: Plan, pairs: Outcomes, until: Sequence[NDArray[np.bool_]]) -> dict[str, _LeadTest]:
    """The one-sided test at those looks, by reading; one and the same if nothing is broken."""
    found: dict[str, _LeadTest] = {}
    for reading, differences in pairs.readings().items():
        if found and not pairs.broken:
            found[reading] = found["failures"]
        else:
            found[reading] = _test(plan, differences, pairs, until)
    return found


def _test(
    plan: Plan, differences: NDArray[np.int64], pairs: Outcomes, until: Sequence[NDArray[np.bool_]]
) -> _LeadTest:
    sums = []
    for before, chosen in itertools.pairwise(until):
        new = (chosen & ~before)[pairs.rows]
        sums.append(np.bincount(pairs.clusters[new], weights=differences[new]).astype(np.int64))
    levels = [spent_by_look(plan, plan.alpha / left) for left in range(len(family(plan)), 0, -1)]
    boundaries = flip_boundaries(sums, levels)[::-1]
    return _LeadTest(
        tuple(np.cumsum([part.sum() for part in sums]).tolist()), tuple(map(tuple, boundaries))
    )


def _reject(members: set[int], tests: dict[int, _LeadTest], family_size: int, look: int) -> None:
    """Holm's procedure at one look: who is rejected leaves its share of alpha to the others.

    Source: W. Maurer and F. Bretz (2013), Stat. Biopharm. Res. 5:311-320: own looks of each.
    """
    while True:
        left = family_size - len(members)
        new = {i for i, test in tests.items() if i not in members and test.crossed(look, left)}
        if not new:
            return
        members |= new


def _take(
    plan: Plan,
    claim: Claim,
    outcomes: Outcomes,
    look: int,
    rejects: list[bool],
    left: int,
    boundary: int | None,
) -> _State:
    """A claim at a look, and whether it ends there."""
    contrasts = contrasts_at(plan, claim, outcomes, look)
    readings = tuple(
        decide(plan, claim, contrasts[reading], does)
        for reading, does in zip(READINGS, rejects, strict=True)
    )
    ended: Ended | None = None
    if len(set(readings)) == 1 and readings[0][0] != "INCONCLUSIVE":
        ended = "shown" if readings[0][0] == "SUPPORTED" else "excluded"
    elif look == plan.last_look:
        ended = "all played"
    elif all(is_futile(plan, claim, found, look, left) for found in contrasts.values()):
        ended = "futile"
    return _State(look, outcomes, contrasts, readings, boundary, ended)


def _evidence(plan: Plan, state: _State, p_adjusted: float | None) -> ClaimEvidence:
    shown = state.contrasts["failures"]
    return ClaimEvidence(
        outcomes=state.outcomes,
        contrasts=state.contrasts,
        p_adjusted=p_adjusted,
        readings=state.readings,
        planned=len(plan.seeds)
        * len(plan.rows_until(state.look if state.ended else plan.last_look)),
        stop=Stop(
            state.look,
            plan.last_look,
            state.ended,
            shown.left_only - shown.right_only,
            state.boundary,
        ),
    )


def _adjusted(plan: Plan, p_values: list[float]) -> list[float | None]:
    """Holm over the `family`, for a plan with one look. Without episodes p is 1, and counts."""
    found: list[float | None] = [None] * len(p_values)
    if plan.last_look == 1:
        members = family(plan)
        for i, p in zip(members, holm_adjusted([p_values[i] for i in members]), strict=True):
            found[i] = p
    return found
