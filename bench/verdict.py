"""From a plan and its episodes to a verdict. Pure: no files, no clock, no sentence (those are bench.wording's).

The order is fixed. A scale that cannot conclude never does. Then the sanity gate. Then each claim, if all its
episodes are there. The whole is SUPPORTED only if every claim of the suite is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bench.limits import Discordance, measured_discordance, power_for
from bench.pairs import Contrast, Outcomes, RowsByCase, broken, contrast, contrast_steps, pair_outcomes, solved
from bench.plan import Plan
from bench.seeds import derive_seed
from bench.stats.difference import Interval
from bench.stats.holm import holm_adjusted
from bench.stats.mcnemar import mcnemar_two_sided
from bench.stats.power import POWER
from bench.stats.rates import wilson_interval
from bench.stats.steps import StepsContrast
from bench.suite import Claim, rollout_names
from wmvla.rollout.journal import Row

Decision = Literal["SUPPORTED", "NOT SUPPORTED", "INCONCLUSIVE"]
Why = Literal["scale", "not asked", "sanity", "incomplete", "broken", "data"]
"""What decided: the scale, the choice of arms, the sanity gate, missing or broken episodes, or the data."""


@dataclass(frozen=True)
class Rate:
    """Success of one rollout, of one training seed or (`seed` None) of all of them, in one task or (`task` None) in all."""

    rollout: str
    seed: int | None
    task: int | None
    planned: int
    finished: int
    successes: int
    errors: int
    timeouts: int
    rate: float | None
    """Successes of the finished episodes; errors and timeouts count as failures. None without episodes."""
    best_rate: float | None
    """The same, had every broken episode succeeded."""
    interval: tuple[float, float]
    """Wilson interval of `rate` at 1 - alpha."""

    @property
    def complete(self) -> bool:
        return self.finished == self.planned


@dataclass(frozen=True)
class SanityResult:
    rollout: str
    floor: float
    status: Literal["passed", "failed", "incomplete", "not asked"]
    rate: float | None


@dataclass(frozen=True)
class ClaimResult:
    claim: Claim
    decision: Decision
    why: Why
    contrast: Contrast
    """With broken episodes as failures."""
    planned: int
    p_adjusted: float | None
    """Holm over the asked superiority claims; None for equivalence."""
    p_two_sided: float
    """Exact McNemar, pairs taken as independent: for comparison with other reports, decides nothing."""
    broken: int
    """Pairs of which one episode or both ended in an error or a timeout."""
    bounds: tuple[float, float] | None
    """The difference with broken episodes read against and for the left rollout; None without episodes."""
    discordance: Discordance
    """What the pairs say about how many it takes."""
    power: float | None
    """Chance that the planned episodes find the effect that the claim seeks, at that discordance; None where it names none."""
    steps: StepsContrast | None
    """Steps to success: decides nothing. None without episodes."""

    @property
    def complete(self) -> bool:
        return self.contrast.pairs == self.planned


@dataclass(frozen=True)
class Verdict:
    decision: Decision
    why: Why
    sanity: SanityResult
    claims: tuple[ClaimResult, ...]
    rates: tuple[Rate, ...]
    """Pooled over training seeds, one for each rollout of the plan."""
    seed_rates: tuple[Rate, ...]
    """One for each rollout case."""
    task_rates: tuple[Rate, ...]
    """Pooled over training seeds, one for each rollout and task."""

    @property
    def planned(self) -> int:
        return sum(rate.planned for rate in self.rates)

    @property
    def finished(self) -> int:
        return sum(rate.finished for rate in self.rates)

    @property
    def complete(self) -> bool:
        return self.finished == self.planned


def judge(plan: Plan, rows_by_case: RowsByCase) -> Verdict:
    """The verdict on the plan's claims, from the rows of its rollout cases (as `bench.journal.read_journals`)."""
    rates = tuple(_pooled_rate(plan, rows_by_case, rollout) for rollout in rollout_names(plan.arms))
    sanity = _sanity(plan, rates)
    claims = _claims(plan, rows_by_case, sanity)
    complete = all(rate.complete for rate in rates)
    decision, why = _overall(plan, sanity, claims, complete)
    return Verdict(
        decision=decision,
        why=why,
        sanity=sanity,
        claims=claims,
        rates=rates,
        seed_rates=tuple(
            _rate(plan, case.rollout, case.seed, None, rows_by_case.get(case.id, ()), len(plan.episodes))
            for case in plan.rollout_cases()
        ),
        task_rates=tuple(rate for rollout in rollout_names(plan.arms) for rate in _rates_by_task(plan, rows_by_case, rollout)),
    )


def decide_superiority(
    p_adjusted: float, interval: Interval, alpha: float, effect: float | None = None, power: float | None = None
) -> Decision:
    """SUPPORTED where the adjusted one-sided test rejects.

    NOT SUPPORTED where the two-sided interval at 1 - alpha leaves no gain, that is, where its upper bound is not above 0;
    and, of a claim that seeks an `effect`, where that bound lies below it and the plan had the `power` to find it.
    """
    if p_adjusted <= alpha:
        return "SUPPORTED"
    excluded = effect is not None and power is not None and power >= POWER and interval.upper < effect
    return "NOT SUPPORTED" if interval.upper <= 0 or excluded else "INCONCLUSIVE"


def decide_equivalence(tost_interval: Interval, interval: Interval, margin: float) -> Decision:
    """SUPPORTED where the interval at 1 - 2 alpha lies inside +-margin (TOST); NOT SUPPORTED where the one at
    1 - alpha lies outside."""
    if tost_interval.inside(margin):
        return "SUPPORTED"
    return "NOT SUPPORTED" if interval.lower >= margin or interval.upper <= -margin else "INCONCLUSIVE"


def _pooled_rate(plan: Plan, rows_by_case: RowsByCase, rollout: str) -> Rate:
    cases = plan.rollout_cases(rollout)
    rows = [row for case in cases for row in rows_by_case.get(case.id, ())]
    return _rate(plan, rollout, None, None, rows, len(cases) * len(plan.episodes))


def _rates_by_task(plan: Plan, rows_by_case: RowsByCase, rollout: str) -> list[Rate]:
    by_task: dict[int, list[Row]] = {task: [] for task in plan.recipe.environment.tasks}
    for case in plan.rollout_cases(rollout):
        for row in rows_by_case.get(case.id, ()):
            by_task[row["task"]].append(row)
    planned = len(plan.seeds) * plan.recipe.rollout.episodes
    return [_rate(plan, rollout, None, task, rows, planned) for task, rows in by_task.items()]


def _rate(plan: Plan, rollout: str, seed: int | None, task: int | None, rows: Sequence[Row], planned: int) -> Rate:
    finished, successes = len(rows), sum(map(solved, rows))
    broken_rows = sum(map(broken, rows))
    return Rate(
        rollout=rollout,
        seed=seed,
        task=task,
        planned=planned,
        finished=finished,
        successes=successes,
        errors=sum(row["status"] == "error" for row in rows),
        timeouts=sum(row["status"] == "timeout" for row in rows),
        rate=successes / finished if finished else None,
        best_rate=(successes + broken_rows) / finished if finished else None,
        interval=wilson_interval(successes, finished, 1 - plan.alpha),
    )


def _sanity(plan: Plan, rates: tuple[Rate, ...]) -> SanityResult:
    """The gate on the pooled rate, broken episodes counted as failures."""
    gate = plan.sanity
    rate = next((rate for rate in rates if rate.rollout == gate.rollout), None)
    if rate is None:
        return SanityResult(gate.rollout, gate.floor, "not asked", None)
    if not rate.complete or rate.rate is None:
        return SanityResult(gate.rollout, gate.floor, "incomplete", rate.rate)
    return SanityResult(gate.rollout, gate.floor, "passed" if rate.rate >= gate.floor else "failed", rate.rate)


def _claims(plan: Plan, rows_by_case: RowsByCase, sanity: SanityResult) -> tuple[ClaimResult, ...]:
    """Every claim of the suite, in its order."""
    planned = len(plan.seeds) * len(plan.episodes)
    outcomes = [pair_outcomes(plan, rows_by_case, claim.left, claim.right) for claim in plan.claims]
    contrasts = [_readings(plan, claim, outcome) for claim, outcome in zip(plan.claims, outcomes, strict=True)]
    adjusted = {
        reading: _adjusted(plan, [readings[reading].p for readings in contrasts]) for reading in ("failures", "against", "for")
    }
    results = []
    for i, claim in enumerate(plan.claims):
        complete = claim.asked and contrasts[i]["failures"].pairs == planned
        readings = [_decide(plan, claim, contrasts[i][name], adjusted[name][i]) for name in adjusted]
        decision, why = _claim_decision(plan, claim, sanity, complete, readings)
        shown = contrasts[i]["failures"]
        worst, best = contrasts[i]["against"].estimate, contrasts[i]["for"].estimate
        results.append(
            ClaimResult(
                claim=claim,
                decision=decision,
                why=why,
                contrast=shown,
                planned=planned,
                p_adjusted=adjusted["failures"][i],
                p_two_sided=mcnemar_two_sided(shown.left_only, shown.right_only),
                broken=outcomes[i].broken,
                bounds=None if worst is None or best is None else (worst, best),
                discordance=(discordance := _discordance(shown)),
                power=None if claim.effect is None else power_for(plan, claim.effect, discordance),
                steps=contrast_steps(outcomes[i], plan.recipe.environment.max_steps),
            )
        )
    return tuple(results)


def _readings(plan: Plan, claim: Claim, outcomes: Outcomes) -> dict[str, Contrast]:
    """The contrast with broken episodes read in each way; one and the same where none is broken."""
    seed = derive_seed(plan.hash, "bootstrap", claim.id)
    groups = outcomes.seeds if plan.method.seeds == "resampled" else None
    resamples = plan.method.bootstrap_resamples
    found: dict[str, Contrast] = {}
    for reading, differences in outcomes.readings().items():
        if found and not outcomes.broken:
            found[reading] = found["failures"]
        else:
            found[reading] = contrast(differences, outcomes.clusters, groups, plan.alpha, resamples, seed)
    return found


def _adjusted(plan: Plan, p_values: list[float]) -> list[float | None]:
    """Holm over the asked superiority claims. A claim without episodes has p = 1 and still counts."""
    family = [i for i, claim in enumerate(plan.claims) if claim.asked and claim.kind == "superiority"]
    found: list[float | None] = [None] * len(p_values)
    for i, p in zip(family, holm_adjusted([p_values[i] for i in family]), strict=True):
        found[i] = p
    return found


def _decide(plan: Plan, claim: Claim, found: Contrast, p_adjusted: float | None) -> tuple[Decision, bool]:
    """The decision, and on which side of 0 the estimate lies: two readings that exclude equivalence on opposite
    sides do not agree."""
    side = (found.estimate or 0.0) > 0
    if claim.kind == "equivalence":
        assert claim.margin is not None
        decision = decide_equivalence(found.tost_interval, found.interval, claim.margin)
        return decision, side if decision == "NOT SUPPORTED" else True
    if p_adjusted is None:
        return "INCONCLUSIVE", True
    power = None if claim.effect is None else power_for(plan, claim.effect, _discordance(found))
    decision = decide_superiority(p_adjusted, found.interval, plan.alpha, claim.effect, power)
    if decision == "SUPPORTED" and plan.method.seeds == "resampled" and found.interval.lower <= 0:
        return "INCONCLUSIVE", True  # it holds for these checkpoints; the training seeds do not agree enough
    return decision, True


def _discordance(found: Contrast) -> Discordance:
    return measured_discordance(found.left_only, found.right_only, found.pairs, found.design_effect)


def _claim_decision(
    plan: Plan, claim: Claim, sanity: SanityResult, complete: bool, readings: list[tuple[Decision, bool]]
) -> tuple[Decision, Why]:
    if not plan.concludes:
        return "INCONCLUSIVE", "scale"
    if not claim.asked:
        return "INCONCLUSIVE", "not asked"
    if sanity.status in ("failed", "not asked"):
        return "INCONCLUSIVE", "sanity"
    if not complete or sanity.status == "incomplete":
        return "INCONCLUSIVE", "incomplete"
    if len(set(readings)) > 1:
        return "INCONCLUSIVE", "broken"
    return readings[0][0], "data"


def _overall(plan: Plan, sanity: SanityResult, claims: tuple[ClaimResult, ...], complete: bool) -> tuple[Decision, Why]:
    if not plan.concludes:
        return "INCONCLUSIVE", "scale"
    if sanity.status in ("failed", "not asked"):
        return "INCONCLUSIVE", "sanity"
    if not complete:
        return "INCONCLUSIVE", "incomplete"
    decisions = [claim.decision for claim in claims]
    if "NOT SUPPORTED" in decisions:
        return "NOT SUPPORTED", "data"
    if claims and all(decision == "SUPPORTED" for decision in decisions):
        return "SUPPORTED", "data"
    if any(claim.why == "not asked" for claim in claims):
        return "INCONCLUSIVE", "not asked"
    if any(claim.why == "broken" for claim in claims):
        return "INCONCLUSIVE", "broken"
    return "INCONCLUSIVE", "data"
