"""Success of two groups of unpaired episodes, task by task: interval and exact test.

Episodes are taken as independent of each other. That wastes what pairs would tell, and is
optimistic where one scene is played several times; nothing here decides a claim.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.judge.stats.difference import Interval
from bench.judge.stats.rates import wilson_bounds


@dataclass(frozen=True)
class Stratum:
    """The episodes of both groups in one task. Neither is empty."""

    left: int
    """Successes."""
    left_episodes: int
    right: int
    right_episodes: int


@dataclass(frozen=True)
class Standardised:
    """Success of both groups, with the same weight of a task in each."""

    left: float
    right: float
    left_episodes: float
    """Effective number: episodes of one task that would estimate the rate as well."""
    right_episodes: float


def standardise(strata: Sequence[Stratum]) -> Standardised:
    """Means of the tasks' rates, weighted as by W. Cochran (1954), Biometrics 10:417-451.

    These are n m / (n + m) for n and m episodes. Where the tasks' shares are the same in both
    groups they are those shares, and the rates are plain successes by episodes. The effective
    number is L. Kish's (1965), Survey Sampling: 1 / sum(weight^2 / n).
    """
    raw = [
        each.left_episodes * each.right_episodes / (each.left_episodes + each.right_episodes)
        for each in strata
    ]
    weights = [weight / sum(raw) for weight in raw]
    each = list(zip(weights, strata, strict=True))
    return Standardised(
        left=min(
            1.0, sum(weight * stratum.left / stratum.left_episodes for weight, stratum in each)
        ),
        right=min(
            1.0, sum(weight * stratum.right / stratum.right_episodes for weight, stratum in each)
        ),
        left_episodes=1 / sum(weight**2 / stratum.left_episodes for weight, stratum in each),
        right_episodes=1 / sum(weight**2 / stratum.right_episodes for weight, stratum in each),
    )


def newcombe_interval(found: Standardised, confidence: float) -> Interval:
    """Two-sided interval of left - right from the Wilson intervals of both.

    Source: method 10 of R. G. Newcombe (1998), Stat. Med. 17:873-890.

    Non-obvious: with tasks of one share it is that of all episodes pooled. Tasks of unlike
    difficulty then make it wider than needed and never narrower, because a mean of binomial
    variances is at most the variance at the mean.
    """
    left_lower, left_upper = wilson_bounds(found.left, found.left_episodes, confidence)
    right_lower, right_upper = wilson_bounds(found.right, found.right_episodes, confidence)
    difference = found.left - found.right
    down = math.hypot(found.left - left_lower, right_upper - found.right)
    up = math.hypot(left_upper - found.left, found.right - right_lower)
    return Interval(difference - down, difference + up, confidence)


def exact_one_sided(strata: Sequence[Stratum]) -> float:
    """Exact test of left < right: chance of at most so many successes on the left.

    If the groups do not differ, the successes of a task fall to its episodes by lot, so those on
    the left are hypergeometric, and their sum over tasks is a convolution. With one task it is R.
    A. Fisher's exact test. Source: M. W. Birch (1964), J. R. Stat. Soc. B 26:313-324.
    """
    from scipy.stats import hypergeom  # half a second to import, and seldom asked for

    distribution: NDArray[np.float64] = np.ones(1)
    for each in strata:
        counts = np.arange(each.left_episodes + 1)
        solved, episodes = each.left + each.right, each.left_episodes + each.right_episodes
        distribution = np.convolve(
            distribution, hypergeom.pmf(counts, episodes, solved, each.left_episodes)
        )
    return min(1.0, float(distribution[: sum(each.left for each in strata) + 1].sum()))
