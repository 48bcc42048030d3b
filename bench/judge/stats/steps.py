"""Steps to success of two arms, where a failure is a success not seen before the end."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from bench.judge.stats.difference import numbered

COUNTING_WORK = 20_000_000
"""Additions that a p-value may cost."""
MOST_COUNTED = 1000
"""Clusters beyond which a total is as good as normal."""


@dataclass(frozen=True)
class StepsContrast:
    quicker: int
    """Pairs in which the left arm succeeds in fewer steps, or succeeds alone."""
    slower: int
    alike: int
    """Pairs of equally many steps, and pairs that both fail."""
    left_mean: float
    """Mean steps, failures at the most that an episode may take (the restricted mean)."""
    right_mean: float
    p: float
    """Two-sided."""
    exact: bool


def compare_steps(
    left: NDArray[np.integer],
    right: NDArray[np.integer],
    left_solved: NDArray[np.bool_],
    right_solved: NDArray[np.bool_],
    clusters: NDArray[np.integer],
    most_steps: int,
) -> StepsContrast | None:
    """The paired Prentice-Wilcoxon test of steps to success; arrays (pairs,). None without pairs.

    A failure is censored at `most_steps`, whenever it ended: all that is known is that success
    would have taken longer. Each pair's score is the difference of the two episodes' scores in the
    pooled sample; if the arms do not differ, exchanging their names inside a cluster changes
    nothing, so every cluster's sum is as likely with the other sign.

    Source: P. C. O'Brien and T. R. Fleming (1987), Biometrics 43:169-180. Their scores are those of
    R. L. Prentice (1978), Biometrika 65:167-179; where all censoring is at one time they are, up to
    a factor, the mid-ranks of the pooled sample with failures last
    (tests/bench/judge/stats/test_steps.py computes both).

    Non-obvious: twice a mid-rank is whole, so the distribution over sign patterns is counted.
    """
    pairs = len(left)
    if pairs == 0:
        return None
    one, other = (
        np.where(solved, np.minimum(steps, most_steps), most_steps + 1)
        for steps, solved in ((left, left_solved), (right, right_solved))
    )
    _, rank_of, alike = np.unique(
        np.concatenate([one, other]), return_inverse=True, return_counts=True
    )
    ranks = (2 * np.cumsum(alike) - alike + 1)[rank_of]
    cluster_of = numbered(clusters)
    scores = np.bincount(cluster_of, weights=ranks[pairs:] - ranks[:pairs]).astype(np.int64)
    p, exact = flip_two_sided(scores)
    return StepsContrast(
        quicker=int((one < other).sum()),
        slower=int((one > other).sum()),
        alike=int((one == other).sum()),
        left_mean=float(np.minimum(one, most_steps).mean()),
        right_mean=float(np.minimum(other, most_steps).mean()),
        p=p,
        exact=exact,
    )


def flip_two_sided(sums: NDArray[np.integer]) -> tuple[float, bool]:
    """Share of sign patterns whose total is as far from 0 as the observed; whether it is exact.

    Where counting them would take more than `COUNTING_WORK`, the numbers are rounded to a coarser
    unit first. Of more than `MOST_COUNTED` numbers the total is taken as normal, with variance
    sum(sums**2), which is its variance over the patterns.
    """
    sums = sums[sums != 0]
    if len(sums) == 0:
        return 1.0, True
    if len(sums) > MOST_COUNTED:
        observed = abs(float(sums.sum()))
        return 2 * float(
            ndtr(-observed / math.sqrt(float((sums.astype(np.float64) ** 2).sum())))
        ), False
    sums = sums // np.gcd.reduce(sums)
    unit = math.ceil(len(sums) * int(np.abs(sums).sum()) / COUNTING_WORK)
    if unit > 1:
        sums = np.rint(sums / unit).astype(np.int64)
    # Index i holds the chance of a total of 2 i - sum(sizes).
    sizes, distribution = np.abs(sums), np.ones(1)
    for size in sizes:
        distribution = np.concatenate([distribution, np.zeros(size)]) + np.concatenate(
            [np.zeros(size), distribution]
        )
        distribution /= 2
    upper = (int(sizes.sum()) + abs(int(sums.sum()))) // 2
    return min(1.0, 2 * float(distribution[upper:].sum())), unit == 1
