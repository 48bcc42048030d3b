"""From a plan and its episodes to a verdict. Pure: no files, no clock, no sentence (those are
bench.wording's).

The order is fixed. A scale that cannot conclude never does. Then the sanity gate. Then each claim,
if all its episodes are there. The whole is SUPPORTED only if every claim of the suite is.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bench.judge.claim_evidence import Evidence, Stop, fixed_evidence
from bench.judge.interim import follow
from bench.judge.pairing import Contrast, RowsByCase, contrast_steps
from bench.judge.power import Discordance, power_for
from bench.judge.rule import discordance_of
from bench.judge.stats.mcnemar import mcnemar_two_sided
from bench.judge.stats.rates import wilson_interval
from bench.judge.stats.steps import StepsContrast
from bench.plan.document import Plan
from bench.plan.suite import Claim, Decision, rollout_names
from wmvla.recipe import EpisodeRow
from wmvla.rollout.journal import STATUSES, Row

Why = Literal["scale", "not asked", "sanity", "incomplete", "broken", "data"]
"""What decided: the scale, the choice of arms, the sanity gate, missing or broken episodes, or the
data."""


@dataclass(frozen=True)
class Rate:
    """Success of one rollout, of one training seed or (`seed` None) of all of them, in one task or
    (`task` None) in all."""

    rollout: str
    seed: int | None
    task: int | None
    planned: int
    """Of a sequential plan: by the look at which the rollout ends, as far as that is known, else
    all."""
    finished: int
    successes: int
    errors: int
    timeouts: int
    rate: float | None
    """Successes of the finished episodes; errors and timeouts count as failures. None without
    episodes."""
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
    """Holm over the asked superiority claims; None for equivalence and in a sequential plan."""
    p_two_sided: float
    """Exact McNemar, pairs taken as independent: for comparison with other reports, decides
    nothing."""
    broken: int
    """Pairs of which one episode or both ended in an error or a timeout."""
    bounds: tuple[float, float] | None
    """The difference with broken episodes read against and for the left rollout; None without
    episodes."""
    discordance: Discordance
    """What the pairs say about how many it takes."""
    power: float | None
    """Chance that the planned episodes find the effect that the claim seeks, at that discordance;
    None where it names none."""
    steps: StepsContrast | None
    """Steps to success: decides nothing. None without episodes."""
    stop: Stop | None = None
    """Where the claim stands in a sequential plan."""

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
        return all(rate.complete for rate in self.rates)


def judge(plan: Plan, rows_by_case: RowsByCase) -> Verdict:
    """The verdict on the plan's claims, from the rows of its rollout cases (as
    `bench.record.journal.read_journals`)."""
    if plan.sequential is None:
        evidence: Sequence[Evidence] = fixed_evidence(plan, rows_by_case)
        until = dict.fromkeys(rollout_names(plan.arms), plan.episodes)
    else:
        course = follow(plan, rows_by_case)
        evidence = course.evidence
        until = {
            rollout: plan.rows_until(course.planned(plan, rollout))
            for rollout in rollout_names(plan.arms)
        }
    rates = tuple(
        _pooled_rate(plan, rows_by_case, rollout, planned) for rollout, planned in until.items()
    )
    sanity = _sanity(plan, rates)
    claims = tuple(
        _claim_result(plan, claim, found, sanity)
        for claim, found in zip(plan.claims, evidence, strict=True)
    )
    complete = all(rate.complete for rate in rates)
    decision, why = _overall(plan, sanity, claims, complete)
    return Verdict(
        decision=decision,
        why=why,
        sanity=sanity,
        claims=claims,
        rates=rates,
        seed_rates=tuple(
            _rate(
                plan,
                case.rollout,
                case.seed,
                None,
                rows_by_case.get(case.id, ()),
                len(until[case.rollout]),
            )
            for case in plan.rollout_cases()
        ),
        task_rates=tuple(
            rate
            for rollout, planned in until.items()
            for rate in _rates_by_task(plan, rows_by_case, rollout, planned)
        ),
    )


def ended_early(result: ClaimResult) -> bool:
    """Whether a claim was decided before all of its episodes were played."""
    return (
        result.stop is not None
        and result.stop.ended in ("shown", "excluded")
        and result.stop.look < result.stop.of
    )


def _pooled_rate(
    plan: Plan, rows_by_case: RowsByCase, rollout: str, planned: Sequence[EpisodeRow]
) -> Rate:
    cases = plan.rollout_cases(rollout)
    rows = [row for case in cases for row in rows_by_case.get(case.id, ())]
    return _rate(plan, rollout, None, None, rows, len(cases) * len(planned))


def _rates_by_task(
    plan: Plan, rows_by_case: RowsByCase, rollout: str, planned: Sequence[EpisodeRow]
) -> list[Rate]:
    by_task: dict[int, list[Row]] = {task: [] for task in plan.recipe.environment.tasks}
    for case in plan.rollout_cases(rollout):
        for row in rows_by_case.get(case.id, ()):
            by_task[row["task"]].append(row)
    wanted = Counter(row.task for row in planned)
    return [
        _rate(plan, rollout, None, task, rows, len(plan.seeds) * wanted[task])
        for task, rows in by_task.items()
    ]


def _rate(
    plan: Plan, rollout: str, seed: int | None, task: int | None, rows: Sequence[Row], planned: int
) -> Rate:
    outcomes = Counter((row["status"], row["success"]) for row in rows)
    by_status = Counter(
        {status: outcomes[status, True] + outcomes[status, False] for status in STATUSES}
    )
    finished, successes = len(rows), outcomes["ok", True]
    broken_rows = finished - by_status["ok"]
    return Rate(
        rollout=rollout,
        seed=seed,
        task=task,
        planned=planned,
        finished=finished,
        successes=successes,
        errors=by_status["error"],
        timeouts=by_status["timeout"],
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
    return SanityResult(
        gate.rollout, gate.floor, "passed" if rate.rate >= gate.floor else "failed", rate.rate
    )


def _claim_result(
    plan: Plan, claim: Claim, evidence: Evidence, sanity: SanityResult
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
    plan: Plan, claim: Claim, sanity: SanityResult, evidence: Evidence
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
