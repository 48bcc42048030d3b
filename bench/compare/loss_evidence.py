"""How strongly episodes speak for a loss: pairs by the report's exact test, others by task. Pure.

Broken episodes are read in the three ways of `bench.judge.pairing.Outcomes.readings`: as failures,
which is what is shown, and as bad and as good for the later run as can be.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.judge.pairing import Outcomes
from bench.judge.stats.difference import (
    Interval,
    bootstrap_differences,
    bootstrap_interval,
    hull,
    score_interval,
)
from bench.judge.stats.mcnemar import cluster_flip_one_sided
from bench.judge.stats.unpaired import Stratum, exact_one_sided, newcombe_interval, standardise
from wmvla.rollout.tally import Tally


@dataclass(frozen=True)
class LossEvidence:
    """Of one rollout under one reading: success in the later run minus that in the baseline."""

    difference: float
    p: float
    """One-sided and exact: chance of so large a loss where there is none."""
    interval: Callable[[float], Interval]
    """Two-sided, by its confidence."""

    def loses_more_than(self, threshold: float, level: float) -> bool:
        """Whether a loss beyond `threshold` is shown: of 0 by the exact test, else the interval."""
        if threshold == 0:
            return self.p <= level
        return self.interval(1 - 2 * level).upper < -threshold


def paired_evidence(
    outcomes: Outcomes, resampled_seeds: bool, resamples: int, seed: int
) -> dict[str, LossEvidence]:
    """By reading; `outcomes` must hold at least one pair, the later run on the left."""
    groups = outcomes.seeds if resampled_seeds else None
    return {
        reading: _paired(differences, outcomes.clusters, groups, resamples, seed)
        for reading, differences in outcomes.readings().items()
    }


def _paired(
    differences: NDArray[np.int64],
    clusters: NDArray[np.int64],
    groups: NDArray[np.int64] | None,
    resamples: int,
    seed: int,
) -> LossEvidence:
    won, lost, pairs = int((differences > 0).sum()), int((differences < 0).sum()), len(differences)
    resampled = bootstrap_differences(differences, clusters, resamples, seed, groups)

    @functools.cache
    def interval(confidence: float) -> Interval:
        return hull(
            score_interval(won, lost, pairs, confidence), bootstrap_interval(resampled, confidence)
        )

    p = cluster_flip_one_sided(np.bincount(clusters, weights=-differences).astype(np.int64))
    return LossEvidence((won - lost) / pairs, p, interval)


def unpaired_evidence(tasks: Sequence[tuple[Tally, Tally]]) -> dict[str, LossEvidence]:
    """By reading; `tasks`: tallies of baseline and later run in each common task, none empty."""
    return {
        "failures": _unpaired([_stratum(one, other) for one, other in tasks]),
        "against": _unpaired([_stratum(one, other, one.broken, 0) for one, other in tasks]),
        "for": _unpaired([_stratum(one, other, 0, other.broken) for one, other in tasks]),
    }


def _stratum(baseline: Tally, other: Tally, baseline_more: int = 0, other_more: int = 0) -> Stratum:
    """With some of the broken episodes taken as successes."""
    return Stratum(
        other.successes + other_more,
        other.episodes,
        baseline.successes + baseline_more,
        baseline.episodes,
    )


def _unpaired(strata: Sequence[Stratum]) -> LossEvidence:
    found = standardise(strata)
    return LossEvidence(
        found.left - found.right,
        exact_one_sided(strata),
        functools.partial(newcombe_interval, found),
    )
