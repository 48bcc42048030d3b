"""Exact tests of a paired difference: McNemar's, and the same with whole clusters flipped."""

import numpy as np
from numpy.typing import NDArray

from bench.judge.stats.binomial import chances, upper_tail


def mcnemar_one_sided(left_only: int, right_only: int) -> float:
    """Chance that a fair coin lets at least `left_only` of the discordant pairs fall to the left.

    Source: Q. McNemar (1947), Psychometrika 12:153-157, exact and conditional (the sign test).
    """
    assert left_only >= 0
    assert right_only >= 0
    return float(upper_tail(left_only, left_only + right_only, 0.5))


def mcnemar_two_sided(left_only: int, right_only: int) -> float:
    """Twice the smaller tail, at most 1."""
    return min(
        1.0,
        2 * min(mcnemar_one_sided(left_only, right_only), mcnemar_one_sided(right_only, left_only)),
    )


def cluster_flip_one_sided(cluster_sums: NDArray[np.integer]) -> float:
    """One-sided exact test of left > right where the pairs of a cluster are not independent.

    `cluster_sums`: for each cluster, the sum of left - right over its pairs. If the two do not
    differ, exchanging their names inside a cluster changes nothing, so every sum is as likely with
    the other sign. Returns the share of all sign patterns whose total is at least the observed one.

    With one pair a cluster this is `mcnemar_one_sided`. Source: R. A. Fisher's randomisation test
    for paired data; E. S. Edgington and P. Onghena (2007), Randomization Tests, chapter 6.

    Non-obvious: the total's distribution is a convolution of binomials, one a size of sum.
    """
    distribution = flip_distribution(cluster_sums)
    centre = (len(distribution) - 1) // 2
    return min(1.0, float(distribution[centre + int(cluster_sums.sum()) :].sum()))


def flip_distribution(cluster_sums: NDArray[np.integer]) -> NDArray[np.float64]:
    """Chance of each total of the cluster sums, every sign a fair coin's, from least to most."""
    sizes, counts = np.unique(np.abs(cluster_sums[cluster_sums != 0]), return_counts=True)
    distribution: NDArray[np.float64] = np.ones(1)
    for size, count in zip(sizes, counts, strict=True):
        scaled = np.zeros(2 * size * count + 1)
        scaled[:: 2 * size] = chances(int(count), 0.5)
        distribution = np.asarray(np.convolve(distribution, scaled), dtype=np.float64)
    return distribution
