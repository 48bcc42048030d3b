"""How far a sequential plan plays, as a pure function of what is recorded: which claims have ended,
at which look, and why.

A claim ends when it is shown, when it is excluded, or when going on would hardly decide it. A
rollout ends with the last claim that needs it. Nothing is remembered between looks, so a run that
was killed goes on where an uninterrupted one would be.
"""

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from bench.judge.claim_evidence import READINGS, Ended, Evidence, Stop, family, read
from bench.judge.pairing import Contrast, Outcomes, RowsByCase, pair_outcomes, solved
from bench.judge.power import power_for, spent_by_look
from bench.judge.rule import Reading, decide, discordance_of
from bench.judge.stats.difference import score_interval, tost_confidence
from bench.judge.stats.interim import chance_above, nominal_confidence
from bench.judge.stats.power import POWER
from bench.judge.stats.rates import wilson_interval
from bench.judge.stats.sequential import nested_flip_boundaries, normal_boundaries
from bench.plan.document import Plan
from bench.plan.suite import Claim, rollout_names


@dataclass(frozen=True)
class Course:
    """How far the plan has come."""

    evidence: tuple[Evidence, ...]
    """Of each claim, in the plan's order."""
    looks: dict[str, int]
    """Of each rollout, the look up to which its episodes are needed as far as is known now."""
    open: frozenset[str]
    """Rollouts that may need more after that look."""

    def planned(self, plan: Plan, rollout: str) -> int:
        """The look at which the rollout ends; as long as that is open, the last."""
        return plan.last_look if rollout in self.open else self.looks[rollout]


@dataclass(frozen=True)
class _Lead:
    """The one-sided test of one claim under one reading of broken episodes."""

    leads: tuple[int, ...]
    """Episodes won less episodes lost by each look that is there."""
    boundaries: tuple[tuple[int, ...], ...]
    """From which lead on the test rejects at each look, at alpha, at alpha / 2, at alpha / 3 ..."""

    def crossed(self, look: int, left: int) -> bool:
        """Whether it has rejected by that look, where Holm's family has `left` claims left."""
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


def follow(plan: Plan, rows_by_case: RowsByCase) -> Course:
    """Take every look that the recorded episodes allow."""
    until = [_chosen(plan, look) for look in range(plan.last_look + 1)]
    pairs = [pair_outcomes(plan, rows_by_case, claim.left, claim.right) for claim in plan.claims]
    available = [
        _available(plan, found, until) if claim.asked else 0
        for claim, found in zip(plan.claims, pairs, strict=True)
    ]
    tests = {
        i: {
            reading: _test(plan, pairs[i], until[: available[i] + 1], reading)
            for reading in READINGS
        }
        for i in family(plan)
    }
    states: dict[int, _State] = {}
    rejected: dict[str, set[int]] = {reading: set() for reading in READINGS}
    for look in range(1, plan.last_look + 1):
        taken = [
            i
            for i, number in enumerate(available)
            if number >= look and (look == 1 or states[i].ended is None)
        ]
        for reading in READINGS:
            _reject(
                rejected[reading],
                {i: tests[i][reading] for i in taken if i in tests},
                len(tests),
                look,
            )
        for i in taken:
            left = len(tests) - len(rejected["failures"] - {i})
            boundary = tests[i]["failures"].boundaries[left - 1][look - 1] if i in tests else None
            rejects = [i in rejected[reading] for reading in READINGS]
            states[i] = _take(
                plan, plan.claims[i], pairs[i].among(until[look]), look, rejects, left, boundary
            )
    for i, claim in enumerate(plan.claims):
        states.setdefault(i, _State(0, pairs[i], _read(plan, claim, pairs[i], 1)))
    looks, still_open = {}, set()
    for rollout in rollout_names(plan.arms):
        asked = [
            i
            for i, claim in enumerate(plan.claims)
            if claim.asked and rollout in (claim.left, claim.right)
        ]
        wanted = [states[i].look if states[i].ended else available[i] + 1 for i in asked] or [
            plan.last_look
        ]
        gate, decided = _gate(plan, rows_by_case) if rollout == plan.sanity.rollout else (1, True)
        looks[rollout] = max(*wanted, gate)
        if looks[rollout] < plan.last_look and not (
            decided and all(states[i].ended for i in asked)
        ):
            still_open.add(rollout)
    return Course(
        tuple(_evidence(plan, states[i]) for i in range(len(plan.claims))),
        looks,
        frozenset(still_open),
    )


def wanted_looks(plan: Plan, rows_by_case: RowsByCase) -> dict[str, int]:
    """For each rollout case that lacks episodes which are needed, the look that needs them."""
    looks = follow(plan, rows_by_case).looks
    found = {}
    for case in plan.rollout_cases():
        recorded = {row["index"] for row in rows_by_case.get(case.id, ())}
        if any(row.index not in recorded for row in plan.rows_until(looks[case.rollout])):
            found[case.id] = looks[case.rollout]
    return found


def _chosen(plan: Plan, look: int) -> NDArray[np.bool_]:
    """Which rows of the table are played by a look, of which 0 has none; shape (rows,)."""
    chosen: NDArray[np.bool_] = np.zeros(len(plan.episodes), dtype=np.bool_)
    chosen[[row.index for row in plan.rows_until(look)] if look else []] = True
    return chosen


def _available(plan: Plan, pairs: Outcomes, until: Sequence[NDArray[np.bool_]]) -> int:
    """How many looks have all their pairs."""
    whole = [
        int(chosen[pairs.rows].sum()) == len(plan.seeds) * int(chosen.sum()) for chosen in until[1:]
    ]
    return whole.index(False) if False in whole else len(whole)


def _test(plan: Plan, pairs: Outcomes, until: Sequence[NDArray[np.bool_]], reading: str) -> _Lead:
    """The one-sided test at all looks that are there."""
    differences = pairs.readings()[reading]
    sums = []
    for before, chosen in itertools.pairwise(until):
        new = (chosen & ~before)[pairs.rows]
        sums.append(np.bincount(pairs.clusters[new], weights=differences[new]).astype(np.int64))
    levels = [spent_by_look(plan, plan.alpha / left) for left in range(len(family(plan)), 0, -1)]
    boundaries = nested_flip_boundaries(sums, levels)[::-1]
    return _Lead(
        tuple(np.cumsum([part.sum() for part in sums]).tolist()), tuple(map(tuple, boundaries))
    )


def _reject(members: set[int], tests: dict[int, _Lead], family_size: int, look: int) -> None:
    """Holm's procedure at one look: who is rejected leaves its share of alpha to the others.

    Source: W. Maurer and F. Bretz (2013), Stat. Biopharm. Res. 5:311-320, where every claim is
    tested at its own looks.
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
    contrasts = _read(plan, claim, outcomes, look)
    readings = tuple(
        decide(plan, claim, contrasts[reading], does)
        for reading, does in zip(READINGS, rejects, strict=True)
    )
    ended: Ended | None = None
    if len(set(readings)) == 1 and readings[0][0] != "INCONCLUSIVE":
        ended = "shown" if readings[0][0] == "SUPPORTED" else "excluded"
    elif look == plan.last_look:
        ended = "all played"
    elif all(_futile(plan, claim, found, look, left) for found in contrasts.values()):
        ended = "futile"
    return _State(look, outcomes, contrasts, readings, boundary, ended)


def _futile(plan: Plan, claim: Claim, found: Contrast, look: int, left: int) -> bool:
    """Whether going on would hardly decide anything: the claim will neither be shown nor excluded
    by the last look.

    Shown: were the truth, for a gain, what is estimated now or the effect that is sought, whichever
    is better (where none is sought, the upper end of the interval); for equality, no difference at
    all. Excluded: were it what is estimated now.

    Non-obvious: no error is spent on the strength of this rule, so it can only make errors rarer,
    however roughly it reckons.
    """
    assert plan.sequential is not None
    assert found.estimate is not None
    fraction = plan.fractions[look - 1]
    bounds = _boundaries(plan, plan.alpha / 2)
    se = _last_se(found, fraction, bounds[-1])
    above = functools.partial(chance_above, found.estimate, se, fraction)
    if claim.kind == "equivalence":
        assert claim.margin is not None
        room = claim.margin - _boundaries(plan, plan.alpha)[-1] * se
        shown = above(0.0, -room) - above(0.0, room) if room > 0 else 0.0
        beyond = claim.margin + bounds[-1] * se
        excluded = above(found.estimate, beyond) + 1 - above(found.estimate, -beyond)
    else:
        truth = found.interval.upper if claim.effect is None else max(found.estimate, claim.effect)
        shown = above(truth, _boundaries(plan, plan.alpha / left)[-1] * se)
        powered = (power_for(plan, claim, discordance_of(found)) or 0.0) >= POWER
        nothing = claim.effect if powered and claim.effect is not None else 0.0
        excluded = 1 - above(found.estimate, nothing - bounds[-1] * se)
    return shown < plan.sequential.futility and excluded < plan.sequential.futility


def _last_se(found: Contrast, fraction: float, bound: float) -> float:
    """Standard error that the estimate will have at the last look, if pairs go on to fall as they
    do.

    By the width of Tango's interval, which has one even where no pair is discordant.
    """
    left, right, pairs = (
        round(count / fraction) for count in (found.left_only, found.right_only, found.pairs)
    )
    last = score_interval(left, right, pairs, 1 - 2 * float(ndtr(-bound)))
    return (last.upper - last.lower) / (2 * bound) * max(found.design_effect, 1.0) ** 0.5


def _gate(plan: Plan, rows_by_case: RowsByCase) -> tuple[int, bool]:
    """The look up to which the sanity gate needs its rollout, and whether that is known: its
    interval leaves the floor out."""
    for look in range(1, plan.last_look + 1):
        wanted = {row.index for row in plan.rows_until(look)}
        rows = [
            row
            for case in plan.rollout_cases(plan.sanity.rollout)
            for row in rows_by_case.get(case.id, ())
            if row["index"] in wanted
        ]
        if len(rows) < len(plan.seeds) * len(wanted):
            return look, False
        low, high = wilson_interval(sum(map(solved, rows)), len(rows), 1 - plan.alpha)
        if not low <= plan.sanity.floor <= high:
            return look, True
    return plan.last_look, True


def _evidence(plan: Plan, state: _State) -> Evidence:
    shown = state.contrasts["failures"]
    return Evidence(
        outcomes=state.outcomes,
        contrasts=state.contrasts,
        p_adjusted=None,
        readings=state.readings,
        planned=len(plan.seeds)
        * len(plan.rows_until(state.look if state.ended else plan.last_look)),
        complete=state.ended is not None,
        stop=Stop(
            state.look,
            plan.last_look,
            state.ended,
            shown.left_only - shown.right_only,
            state.boundary,
        ),
    )


def _read(plan: Plan, claim: Claim, outcomes: Outcomes, look: int) -> dict[str, Contrast]:
    """The contrasts at a look, with repeated intervals, which bear the confidence that they have
    over all looks together."""
    levels = [
        nominal_confidence(_boundaries(plan, alpha)[look - 1])
        for alpha in (plan.alpha / 2, plan.alpha)
    ]
    return {
        reading: replace(
            found,
            interval=replace(found.interval, confidence=1 - plan.alpha),
            tost_interval=replace(found.tost_interval, confidence=tost_confidence(plan.alpha)),
        )
        for reading, found in read(plan, claim, outcomes, (levels[0], levels[1])).items()
    }


def _boundaries(plan: Plan, alpha: float) -> tuple[float, ...]:
    """Of a standardised normal statistic at each look, one-sided at `alpha`."""
    return normal_boundaries(plan.fractions, spent_by_look(plan, alpha))
