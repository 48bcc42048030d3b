"""What was counted, compared with what was promised."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import binom

from bench.calibration.exact import (
    equivalence_chance,
    mcnemar_power_enumerated,
    mcnemar_size,
    tango_coverage,
    wilson_coverage,
)
from bench.calibration.experiments import ClaimTally, Tally
from bench.calibration.scenarios import discordant_rate, simulated_plan
from bench.judge.power import last_tost_confidence, looks_cost, strictest_level
from bench.judge.stats.difference import tost_confidence
from bench.judge.stats.power import equivalence_power, mcnemar_power
from bench.judge.stats.rates import wilson_interval

RARE = 0.001
"""A count fails that would be rarer if the promise were just kept: 1 of 17 calibrations at most."""
BOOTSTRAP_COST = 0.03
"""Power that equivalence may lose to the bootstrap's part of its interval, which no plan counts."""
LOOKS_COST = 0.03
"""By how much the power of a sequential plan may differ from what it says: giving up costs some,
early looks show a little of the equality that the last one is estimated to show."""
NARROW = 0.01
"""By how much intervals may cover too little where a hundred clusters make the bootstrap's part the
wider one: its percentiles are right for many clusters only (Davison and Hinkley 1997, section 5.3).
Measured, then written here: no theory gives it."""
SAME = 1e-6
"""By how much two ways to add up the same chances may differ."""

Kind = Literal["error", "power", "coverage", "control"]


@dataclass(frozen=True)
class Check:
    """One share, its Monte-Carlo interval, and the range in which it was promised to lie."""

    part: Literal["experiments", "exact"]
    kind: Kind
    scenario: str
    what: str
    share: float
    interval: tuple[float, float] | None
    """At 95 %; None for what is no count."""
    at_least: float
    at_most: float
    holds: bool


def experiment_checks(tally: Tally) -> list[Check]:
    """Errors, power and coverage of one scenario's experiments. Where trainings differ, nothing is
    promised: the numbers say what few seeds cost."""
    scenario, of = tally.scenario, tally.experiments
    most, least = (
        (1.0, 0.0)
        if scenario.training
        else (tally.alpha, 1 - tally.alpha - (NARROW if scenario.own else 0))
    )
    checks: list[Check] = []

    def add(kind: Kind, what: str, found: int, low: float, high: float) -> None:
        """A share of the experiments, with the interval that their number leaves."""
        interval, kept = wilson_interval(found, of, 0.95), within(found, of, low, high)
        share = found / of
        checks.append(
            Check("experiments", kind, scenario.name, what, share, interval, low, high, kept)
        )

    for one in tally.claims:
        name = one.claim.id
        if one.true:
            add("power", f"{name} SUPPORTED", one.supported, *_planned(tally, one))
            add("error", f"{name} wrongly NOT SUPPORTED", one.not_supported, 0, most)
        else:
            add("error", f"{name} wrongly SUPPORTED", one.supported, 0, most)
        if not scenario.errors:
            add("coverage", f"{name} in its interval", one.covered, least, 1)
    false_gains = [one for one in tally.claims if one.claim.kind == "superiority" and not one.true]
    if false_gains:
        what = f"any of {len(false_gains)} false gains SUPPORTED"
        add("error", what, tally.false_gains, 0, most)
    if scenario.own and scenario.spending is None:
        for one in [one for one in false_gains if one.difference == 0][:1]:
            what = f"{one.claim.id} by a McNemar test blind to clusters"
            add("control", what, one.naive, 2 * tally.alpha, 1)
    return checks


def exact_checks(alpha: float) -> list[Check]:
    """By enumeration: McNemar's size and power, coverage of Wilson's and Tango's intervals."""
    checks: list[Check] = []

    def add(name: str, kind: Kind, what: str, share: float, low: float, high: float) -> None:
        kept = bool(low <= share <= high)
        checks.append(Check("exact", kind, name, what, share, None, low, high, kept))

    for pairs in (24, 60, 120, 240):
        size = mcnemar_size(pairs, np.linspace(0.02, 1, 50).tolist(), alpha)
        what = "largest error over discordance 2 to 100 %"
        add(f"McNemar, {pairs} pairs", "error", what, size, 0, alpha)
    for pairs, gain, discordant in ((60, 0.2, 0.3), (240, 0.1, 0.3)):
        planned = mcnemar_power(pairs, gain, (discordant - gain) / 2, alpha)
        found = mcnemar_power_enumerated(pairs, gain, discordant, alpha)
        what = f"power for a gain of {100 * gain:.0f} points"
        add(f"McNemar, {pairs} pairs", "power", what, found, planned - SAME, planned + SAME)
    for pairs, discordant in ((200, 0.1), (500, 0.2)):
        planned = equivalence_power(pairs, 0.05, discordant, tost_confidence(alpha))
        found = equivalence_chance(pairs, 0.05, 0.0, discordant, alpha)
        what = "power to show equality within 5 points"
        add(f"TOST, {pairs} pairs", "power", what, found, planned - SAME, planned + SAME)
        error = equivalence_chance(pairs, 0.05, 0.05, discordant, alpha)
        add(f"TOST, {pairs} pairs", "error", "error at the margin", error, 0, alpha)
    for episodes in (24, 100, 500):
        coverage = wilson_coverage(episodes, 1 - alpha, np.linspace(0.05, 0.95, 901).tolist())
        name, promise = f"Wilson, {episodes} episodes", 1 - alpha
        add(name, "coverage", "mean over rates 5 to 95 %", coverage.mean, promise - 0.005, 1)
        add(name, "coverage", "least over rates 5 to 95 %", coverage.least, promise - 0.07, 1)
    for pairs in (10, 24, 48):
        least = tango_coverage(pairs, 1 - alpha, 40).least
        add(f"Tango, {pairs} pairs", "coverage", "least over all true rates", least, 1 - alpha, 1)
    return checks


def _planned(tally: Tally, one: ClaimTally) -> tuple[float, float]:
    """The range of power of the plan: for a gain between Holm's strictest level and its mildest.
    Anything where the plan's assumptions are broken on purpose: clusters, errors, unequal tasks."""
    scenario, alpha = tally.scenario, tally.alpha
    if (
        scenario.own
        or scenario.errors
        or scenario.seeds > 1
        or any(len(set(rates)) > 1 for rates in scenario.rates)
    ):
        return 0.0, 1.0
    plan = simulated_plan(scenario)
    pairs, fewer = scenario.pairs, int(scenario.pairs / looks_cost(plan, one.claim))
    may_lose = LOOKS_COST if scenario.spending else 0.0
    discordant = discordant_rate(scenario, one.claim)
    if one.claim.kind == "equivalence":
        assert one.claim.margin is not None
        power = equivalence_power(pairs, one.claim.margin, discordant, last_tost_confidence(plan))
        return power - BOOTSTRAP_COST - may_lose, power + may_lose
    losses = (discordant - one.difference) / 2
    return (
        mcnemar_power(fewer, one.difference, losses, strictest_level(plan)) - may_lose,
        mcnemar_power(pairs, one.difference, losses, alpha),
    )


def within(found: int, of: int, at_least: float, at_most: float) -> bool:
    """Whether `found` of `of` could come from a chance inside the range, by more than ``RARE``."""
    low, high = max(0.0, at_least), min(1.0, at_most)
    return bool(binom.sf(found - 1, of, high) > RARE and binom.cdf(found, of, low) > RARE)


def table(checks: Sequence[Check]) -> list[str]:
    """Lines of text, one for each check, and one that says whether all hold."""
    width = max(len(check.scenario) for check in checks)
    wide = max(len(check.what) for check in checks)
    lines = [
        f"{'scenario':<{width}}  {'what':<{wide}}  {'share':>7}  {'Monte-Carlo 95 %':>17} "
        f" {'promised':>17}"
    ]
    for check in checks:
        interval = ""
        if check.interval is not None:
            interval = f"{100 * check.interval[0]:.1f} to {100 * check.interval[1]:.1f} %"
        lines.append(
            f"{check.scenario:<{width}}  {check.what:<{wide}}  {100 * check.share:>5.1f} % "
            f" {interval:>17}  {promised(check):>17}  {'' if check.holds else 'BROKEN'}".rstrip()
        )
    broken = sum(not check.holds for check in checks)
    lines.append(f"{len(checks) - broken} of {len(checks)} promises are kept")
    return lines


def promised(check: Check) -> str:
    low, high = 100 * max(0.0, check.at_least), 100 * min(1.0, check.at_most)
    if low <= 0 and high >= 100:
        return "-"
    if low <= 0:
        return f"at most {high:.1f} %"
    return f"at least {low:.1f} %" if high >= 100 else f"{low:.1f} to {high:.1f} %"
