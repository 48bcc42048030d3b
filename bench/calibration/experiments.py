"""Whole experiments of one scenario, judged by `bench.judge.verdict.judge`, and counted."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import cast

import numpy as np

from bench.calibration.scenarios import (
    ROLLOUTS,
    Scenario,
    draw,
    is_true,
    simulated_plan,
    true_difference,
)
from bench.judge.stats.mcnemar import mcnemar_one_sided
from bench.judge.verdict import ClaimResult, Verdict, judge
from bench.plan.document import Plan
from bench.plan.suite import Claim
from wmvla.rollout.journal import Row


@dataclass(frozen=True)
class ClaimTally:
    """How often each decision fell on one claim, and what is true of it."""

    claim: Claim
    difference: float
    """The true one."""
    true: bool
    supported: int
    not_supported: int
    covered: int
    """Experiments whose interval at 1 - alpha holds the true difference."""
    naive: int
    """Experiments that McNemar's test, blind to clusters and unadjusted, would have rejected."""
    bias: float
    """Mean of what the experiments estimated, less what is true."""


@dataclass(frozen=True)
class Tally:
    scenario: Scenario
    alpha: float
    experiments: int
    claims: tuple[ClaimTally, ...]
    false_gains: int
    """Experiments in which at least one false claim of superiority was SUPPORTED."""
    supported: int
    """Experiments whose whole verdict was SUPPORTED."""
    played: float
    """Mean share of the planned episodes that was played: below 1 in a sequential plan only."""


def run_scenario(
    scenario: Scenario,
    experiments: int,
    seed: int,
    on_experiment: Callable[[int], None] = lambda done: None,
) -> Tally:
    """Draw and judge that many experiments; the same numbers for the same seed. `on_experiment`
    gets the number that are done."""
    plan = simulated_plan(scenario)
    table = _RowTable(plan)
    verdicts: list[Verdict] = []
    for experiment in range(experiments):
        generator = np.random.default_rng([seed, experiment])
        verdicts.append(judge(plan, table.rows(*draw(scenario, generator))))
        on_experiment(experiment + 1)
    return Tally(
        scenario=scenario,
        alpha=plan.alpha,
        experiments=experiments,
        claims=tuple(
            _claim_tally(scenario, plan, claim, [verdict.claims[i] for verdict in verdicts])
            for i, claim in enumerate(plan.claims)
        ),
        false_gains=sum(
            any(_is_false_gain(scenario, result) for result in verdict.claims)
            for verdict in verdicts
        ),
        supported=sum(verdict.decision == "SUPPORTED" for verdict in verdicts),
        played=float(
            np.mean([verdict.planned for verdict in verdicts]) / (len(ROLLOUTS) * scenario.pairs)
        ),
    )


def _claim_tally(
    scenario: Scenario, plan: Plan, claim: Claim, results: list[ClaimResult]
) -> ClaimTally:
    difference = true_difference(scenario, claim)
    contrasts = [result.contrast for result in results]
    return ClaimTally(
        claim=claim,
        difference=difference,
        true=is_true(claim, difference),
        supported=sum(result.decision == "SUPPORTED" for result in results),
        not_supported=sum(result.decision == "NOT SUPPORTED" for result in results),
        covered=sum(one.interval.lower <= difference <= one.interval.upper for one in contrasts),
        naive=sum(
            mcnemar_one_sided(one.left_only, one.right_only) <= plan.alpha for one in contrasts
        ),
        bias=float(np.mean([one.estimate or 0.0 for one in contrasts])) - difference,
    )


def _is_false_gain(scenario: Scenario, result: ClaimResult) -> bool:
    claim = result.claim
    false = claim.kind == "superiority" and not is_true(claim, true_difference(scenario, claim))
    return false and result.decision == "SUPPORTED"


class _RowTable:
    """Journal rows of every outcome of every episode, made once: an experiment chooses of them."""

    def __init__(self, plan: Plan) -> None:
        self.cases = [[case.id for case in plan.rollout_cases(rollout)] for rollout in ROLLOUTS]
        longest = plan.recipe.environment.max_steps
        outcomes = ((False, "ok", longest), (True, "ok", longest // 2), (False, "error", 0))
        self.choices: list[list[Row]] = [
            [
                cast(Row, {**asdict(row), "success": success, "status": status, "steps": steps})
                for row in plan.episodes
            ]
            for success, status, steps in outcomes
        ]

    def rows(self, succeeds: np.ndarray, breaks: np.ndarray) -> dict[str, list[Row]]:
        """Rows by case, from arrays of shape (rollouts, seeds, episodes)."""
        chosen = np.where(breaks, 2, succeeds.astype(np.int64)).tolist()
        return {
            case: [self.choices[outcome][index] for index, outcome in enumerate(outcomes)]
            for cases, played in zip(self.cases, chosen, strict=True)
            for case, outcomes in zip(cases, played, strict=True)
        }
