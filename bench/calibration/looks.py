"""Group-sequential designs with known truths: their error, their power, and how much of the episodes they play."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bench.calibration.scenarios import ROLLOUTS, TASKS, Scenario, discordant_rate, draw, level, true_difference
from bench.stats.sequential import crossing_chances, flip_boundaries, normal_boundaries
from bench.stats.spending import SPENDING
from bench.suite import Claim

CLAIM = Claim("E2 > E0", "superiority", "E2-pred", "E0-none", "")


@dataclass(frozen=True)
class Design:
    """One claim of superiority, looked at after `looks` initial states of each task, all repeats of them."""

    scenario: Scenario
    looks: tuple[int, ...]
    spending: str


@dataclass(frozen=True)
class LooksTally:
    design: Design
    alpha: float
    experiments: int
    difference: float
    """The true one."""
    rejected: int
    played: float
    """Mean share of the planned episodes."""
    bias: float
    """Mean of (uncorrected estimate when stopped) - (true difference)."""
    planned_power: float | None
    """By the normal approximation; None where clusters make it wrong."""
    planned_played: float | None


def run_design(
    design: Design, alpha: float, experiments: int, seed: int, on_experiment: Callable[[int], None] = lambda done: None
) -> LooksTally:
    """Draw that many experiments and stop each at the first look that rejects, else at the last."""
    scenario, looks = design.scenario, design.looks
    assert looks[-1] == scenario.inits
    difference = true_difference(scenario, CLAIM)
    spent = [SPENDING[design.spending](look / looks[-1], alpha) for look in looks]
    left, right = ROLLOUTS.index(CLAIM.left), ROLLOUTS.index(CLAIM.right)
    rejected, played, errors = 0, 0.0, 0.0
    for experiment in range(experiments):
        succeeds, _ = draw(scenario, np.random.default_rng([seed, experiment]))
        differences = (succeeds[left].astype(np.int64) - succeeds[right]).reshape(TASKS, scenario.repeats, scenario.inits)
        clusters = differences.sum(axis=1)
        parts = [part.ravel() for part in np.split(clusters, looks[:-1], axis=1)]
        totals = np.cumsum([part.sum() for part in parts])
        crossing = np.flatnonzero(totals >= flip_boundaries(parts, spent))
        rejected += len(crossing) > 0
        stop = int(crossing[0]) if len(crossing) else len(looks) - 1
        played += looks[stop] / looks[-1]
        errors += totals[stop] / (TASKS * scenario.repeats * looks[stop]) - difference
        on_experiment(experiment + 1)
    power, share = _planned(design, alpha, difference) if scenario.own == 0 else (None, None)
    return LooksTally(
        design, alpha, experiments, difference, rejected, played / experiments, errors / experiments, power, share
    )


def _planned(design: Design, alpha: float, difference: float) -> tuple[float, float]:
    """Power and mean share of episodes played, for independent pairs, by the normal approximation."""
    last = design.looks[-1]
    fractions = [look / last for look in design.looks]
    boundaries = normal_boundaries(fractions, [SPENDING[design.spending](t, alpha) for t in fractions])
    discordant = discordant_rate(design.scenario, CLAIM)
    drift = difference * np.sqrt(design.scenario.pairs / (discordant - difference**2))
    crossing = crossing_chances(fractions, boundaries, drift)
    return float(sum(crossing)), float(np.dot(crossing, fractions) + 1 - sum(crossing))


_NOTHING = Scenario("null", "nothing differs", (level(0.7),) * 5)
_GAIN = Scenario("effect", "a gain of 6 points", (level(0.7), level(0.7), level(0.76), level(0.7), level(0.7)))
_CLUSTERS = Scenario("clusters", "4 repeats that nearly agree", (level(0.7),) * 5, inits=12, repeats=4, shared=0.3, own=0.6)
DESIGNS = (
    Design(_NOTHING, (50,), "obrien-fleming"),
    Design(_NOTHING, (10, 20, 30, 40, 50), "obrien-fleming"),
    Design(_NOTHING, (10, 20, 30, 40, 50), "pocock"),
    Design(_NOTHING, (5, 15, 50), "pocock"),
    Design(_CLUSTERS, (3, 6, 9, 12), "obrien-fleming"),
    Design(_CLUSTERS, (3, 6, 9, 12), "pocock"),
    Design(_GAIN, (50,), "obrien-fleming"),
    Design(_GAIN, (10, 20, 30, 40, 50), "obrien-fleming"),
    Design(_GAIN, (10, 20, 30, 40, 50), "pocock"),
)
