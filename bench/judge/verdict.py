"""From a plan and its episodes to a verdict. Pure: no file, clock or sentence (`bench.wording`).

The order is fixed. A scale that cannot conclude never does. Then the sanity gate. Then each claim,
if all its episodes are there. The whole is SUPPORTED only if every claim of the suite is.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from bench.judge.analysis import analyse
from bench.judge.claim_evidence import ClaimEvidence, Stop
from bench.judge.pairing import Contrast, RowsByCase, contrast_steps
from bench.judge.power import Discordance, power_for
from bench.judge.progress import Progress, progress_of
from bench.judge.rule import discordance_of
from bench.judge.stats.mcnemar import mcnemar_two_sided
from bench.judge.stats.rates import wilson_interval
from bench.judge.stats.steps import StepsContrast
from bench.plan.document import Plan
from bench.plan.suite import Claim, Decision
from wmvla.rollout.tally import Tally, tally_by_task

Why = Literal["scale", "not asked", "sanity", "incomplete", "broken", "data"]
"""What decided: scale, choice of arms, sanity gate, missing or broken episodes, or the data."""


SanityStatus = Literal["passed", "failed", "incomplete", "not asked"]


@dataclass(frozen=True)
class Rate:
    """Success of one rollout, of one training seed or (None) all, in one task or (None) all."""

    rollout: str
    seed: int | None
    task: int | None
    planned: int
    """By the look at which the rollout ends; as long as that is open, by the last."""
    finished: int
    successes: int
    errors: int
    timeouts: int
    rate: float | None
    """Of the finished episodes; errors and timeouts are failures. None without episodes."""
    best_rate: float | None
    """The same, had every broken episode succeeded."""
    interval: tuple[float, float]
    """Wilson interval of `rate` at 1 - alpha."""

    @property
    def complete(self) -> bool:
        return self.finished >= self.planned


@dataclass(frozen=True)
class SanityResult:
    rollout: str
    floor: float
    status: SanityStatus
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
    """Holm over the asked superiority claims; None for equivalence and of several looks."""
    p_two_sided: float
    """Exact McNemar, pairs taken as independent: for comparison, decides nothing."""
    broken: int
    """Pairs of which one episode or both ended in an error or a timeout."""
    bounds: tuple[float, float] | None
    """The difference with broken episodes read against and for left; None without episodes."""
    discordance: Discordance
    """What the pairs say about how many it takes."""
    power: float | None
    """Chance that the planned episodes find the effect, at that discordance; None without one."""
    steps: StepsContrast | None
    """Steps to success: decides nothing. None without episodes."""
    stop: Stop

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
    progress: Progress

    @property
    def planned(self) -> int:
        return sum(rate.planned for rate in self.rates)

    @property
    def finished(self) -> int:
        return sum(rate.finished for rate in self.rates)

    @property
    def complete(self) -> bool:
        return all(rate.complete for rate in self.rates)


def judge(plan: Plan, rows_by_case: RowsByCase) -> Verdict:
    """The verdict on the plan's claims, from the rows of its rollout cases."""
    progress = progress_of(plan, rows_by_case)
    count = _Counted(plan, rows_by_case, progress)
    rates = tuple(count.rate(rollout) for rollout in progress.ends)
    sanity = _sanity(plan, rates)
    claims = tuple(
        _claim_result(plan, claim, found, sanity)
        for claim, found in zip(plan.claims, analyse(plan, rows_by_case), strict=True)
    )
    complete = all(rate.complete for rate in rates)
    decision, why = _overall(plan, sanity, claims, complete)
    return Verdict(
        decision=decision,
        why=why,
        sanity=sanity,
        claims=claims,
        rates=rates,
        seed_rates=tuple(count.rate(case.rollout, case.seed) for case in plan.rollout_cases()),
        task_rates=tuple(
            count.rate(rollout, task=task)
            for rollout in progress.ends
            for task in plan.recipe.environment.tasks
        ),
        progress=progress,
    )


class _Counted:
    """The episodes of a run, each counted once, by case and task."""

    def __init__(self, plan: Plan, rows_by_case: RowsByCase, progress: Progress) -> None:
        self.plan = plan
        self.planned = {
            rollout: Counter(plan.table["task"][plan.chosen_until(look)].tolist())
            for rollout, look in progress.ends.items()
        }
        self.found: dict[tuple[str, int], Tally] = {}
        for case in plan.rollout_cases():
            for task, found in tally_by_task(rows_by_case.get(case.id, ())).items():
                self.found[case.id, task] = found

    def rate(self, rollout: str, seed: int | None = None, task: int | None = None) -> Rate:
        """Of one training seed and task, or (None) of all."""
        cases = [
            case for case in self.plan.rollout_cases(rollout) if seed is None or case.seed == seed
        ]
        tasks = self.plan.recipe.environment.tasks if task is None else (task,)
        found = sum(
            (self.found.get((case.id, each), Tally()) for case in cases for each in tasks), Tally()
        )
        return Rate(
            rollout=rollout,
            seed=seed,
            task=task,
            planned=len(cases) * sum(self.planned[rollout][each] for each in tasks),
            finished=found.episodes,
            successes=found.successes,
            errors=found.errors,
            timeouts=found.timeouts,
            rate=found.rate,
            best_rate=(
                (found.successes + found.broken) / found.episodes if found.episodes else None
            ),
            interval=wilson_interval(found.successes, found.episodes, 1 - self.plan.alpha),
        )


def _sanity(plan: Plan, rates: tuple[Rate, ...]) -> SanityResult:
    """The gate on the pooled rate, broken episodes counted as failures."""
    gate = plan.sanity
    rate = next((rate for rate in rates if rate.rollout == gate.rollout), None)
    if rate is None:
        return SanityResult(gate.rollout, gate.floor, "not asked", None)
    status: SanityStatus = "incomplete"
    if rate.complete and rate.rate is not None:
        status = "passed" if rate.rate >= gate.floor else "failed"
    return SanityResult(gate.rollout, gate.floor, status, rate.rate)


def _claim_result(
    plan: Plan, claim: Claim, evidence: ClaimEvidence, sanity: SanityResult
) -> ClaimResult:
    shown = evidence.contrasts["failures"]
    worst, best = evidence.contrasts["against"].estimate, evidence.contrasts["for"].estimate
    decision, why = _claim_decision(plan, claim, sanity, evidence)
    discordance = discordance_of(shown)
    return ClaimResult(
        claim=claim,
        decision=decision,
        why=why,
        contrast=shown,
        planned=evidence.planned,
        p_adjusted=evidence.p_adjusted,
        p_two_sided=mcnemar_two_sided(shown.left_only, shown.right_only),
        broken=evidence.outcomes.broken,
        bounds=None if worst is None or best is None else (worst, best),
        discordance=discordance,
        power=power_for(plan, claim, discordance),
        steps=contrast_steps(evidence.outcomes, plan.recipe.environment.max_steps),
        stop=evidence.stop,
    )


def _claim_decision(
    plan: Plan, claim: Claim, sanity: SanityResult, evidence: ClaimEvidence
) -> tuple[Decision, Why]:
    if not plan.concludes:
        return "INCONCLUSIVE", "scale"
    if not claim.asked:
        return "INCONCLUSIVE", "not asked"
    if sanity.status in ("failed", "not asked"):
        return "INCONCLUSIVE", "sanity"
    if not evidence.complete or sanity.status == "incomplete":
        return "INCONCLUSIVE", "incomplete"
    if len(set(evidence.readings)) > 1:
        return "INCONCLUSIVE", "broken"
    return evidence.readings[0][0], "data"


def _overall(
    plan: Plan, sanity: SanityResult, claims: tuple[ClaimResult, ...], complete: bool
) -> tuple[Decision, Why]:
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
