"""Confidence intervals of a paired difference: success(left) - success(right) on the same episodes.
A Wald interval has no width without discordant pairs: equivalence from three episodes."""

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

CONTINUITY = 1.0
"""Edwards's correction for discordant counts, whose difference moves in steps of two."""


@dataclass(frozen=True)
class Interval:
    lower: float
    upper: float
    confidence: float

    def inside(self, margin: float) -> bool:
        """True where the whole interval lies strictly within +-margin. At `tost_confidence(alpha)`
        this is the equivalence test at level alpha."""
        return -margin < self.lower and self.upper < margin


def tost_confidence(alpha: float) -> float:
    """Confidence of the interval that carries out two one-sided tests (TOST) at level `alpha`.

    The tests reject "difference <= -margin" and "difference >= margin" exactly if the interval at 1
    - 2 alpha lies inside +-margin. Source: D. J. Schuirmann (1987), J. Pharmacokinet. Biopharm.
    15:657-680; for paired rates T. Tango (1998), Stat. Med. 17:891-908.
    """
    return 1 - 2 * alpha


def score_interval(
    left_only: int, right_only: int, pairs: int, confidence: float, continuity: float = CONTINUITY
) -> Interval:
    """Tango's score interval of the paired difference, with a continuity correction.

    `left_only` and `right_only` count the discordant pairs. All differences d are inside whose
    score test ``|left_only - right_only - pairs d| - continuity <= z sd(d)`` does not reject, where
    sd(d) uses the maximum likelihood estimate of the discordant probabilities under d.

    Sources: T. Tango (1998), Stat. Med. 17:891-908 (the interval, continuity = 0); A. L. Edwards
    (1948), Psychometrika 13:185-187 (the correction).

    Non-obvious: without the correction the true error of a one-sided 5 % test reaches 8.8 % at some
    counts below 130 pairs; with it none above 5 % was found (test_difference.py enumerates), and
    for a 2.5 % test none above 2.6 %. Without any discordant pair the interval still has a width:
    at 90 %, +-17 points from 24 pairs; +-5 points take 87.
    """
    assert left_only >= 0
    assert right_only >= 0
    assert left_only + right_only <= pairs
    if pairs == 0:
        return Interval(-1.0, 1.0, confidence)
    z = float(ndtri((1 + confidence) / 2))
    upper = _upper_bound(left_only, right_only, pairs, z, continuity)
    lower = -_upper_bound(right_only, left_only, pairs, z, continuity)
    return Interval(lower, upper, confidence)


def score_rejects_above(
    left_only: NDArray[np.integer],
    right_only: NDArray[np.integer],
    pairs: int,
    difference: float,
    confidence: float,
) -> NDArray[np.bool_]:
    """Whether `score_interval` lies below `difference`, for many outcomes at once."""
    z = float(ndtri((1 + confidence) / 2))
    shortfall = pairs * difference - (left_only - right_only) - CONTINUITY
    return np.asarray(shortfall > z * _score_sd(left_only, right_only, pairs, difference))


def bootstrap_differences(
    differences: NDArray[np.integer],
    clusters: NDArray[np.integer],
    resamples: int,
    seed: int,
    groups: NDArray[np.integer] | None = None,
) -> NDArray[np.float64]:
    """`resamples` paired differences, each from as many clusters, drawn with replacement.

    `differences` holds left - right of each pair, in {-1, 0, 1}, shape (pairs,); `clusters` a label
    for each pair. With `groups`, a label for each pair that its whole cluster shares, groups are
    drawn first, with replacement, and then clusters within every group drawn, anew each time that
    it is (training seeds are such groups). Source of the cluster bootstrap: A. C. Davison and D. V.
    Hinkley (1997), Bootstrap Methods, section 3.8.

    Non-obvious: clusters of one size and sum are interchangeable, so a resample is one multinomial
    draw over the few kinds of cluster, for each group: the same distribution as drawing clusters
    one by one, for a fraction of the work. One group gives what no groups give, draw for draw.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    group_of = numbered(np.zeros_like(clusters) if groups is None else groups)
    number = int(group_of.max()) + 1
    times = generator.multinomial(number, np.full(number, 1 / number), size=resamples)
    totals, episodes = np.zeros(resamples), np.zeros(resamples)
    for group in range(number):
        inside = group_of == group
        cluster_of = numbered(clusters[inside])
        sums = np.bincount(cluster_of, weights=differences[inside]).astype(np.int64)
        sizes = np.bincount(cluster_of)
        kinds, counts = np.unique(np.stack([sums, sizes], axis=1), axis=0, return_counts=True)
        draws = generator.multinomial(len(sums) * times[:, group], counts / counts.sum())
        totals += draws @ kinds[:, 0]
        episodes += draws @ kinds[:, 1]
    return np.asarray(totals / episodes, dtype=np.float64)


def numbered(labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """Labels as 0, 1, 2 ... in their order: `numpy.unique`'s inverse, unsorted if small."""
    if labels.min(initial=0) < 0 or labels.max(initial=0) > len(labels):
        return np.unique(labels, return_inverse=True)[1]
    occurs = np.bincount(labels) > 0
    return np.asarray((np.cumsum(occurs) - 1)[labels], dtype=np.int64)


def bootstrap_interval(resampled: NDArray[np.float64], confidence: float) -> Interval:
    """The percentile interval of bootstrap differences."""
    lower, upper = np.quantile(resampled, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(lower), float(upper), confidence)


def hull(one: Interval, other: Interval) -> Interval:
    """The smallest interval that holds both: on each side the more cautious one."""
    assert one.confidence == other.confidence
    return Interval(min(one.lower, other.lower), max(one.upper, other.upper), one.confidence)


def _upper_bound(left_only: int, right_only: int, pairs: int, z: float, continuity: float) -> float:
    """The largest difference that the score test at `z` does not reject."""

    def excess(difference: float) -> float:
        shortfall = pairs * difference - (left_only - right_only) - continuity
        return shortfall - z * float(_score_sd(left_only, right_only, pairs, difference))

    # A bisection over multiples of 1e-12, from just beyond the estimate itself, where the excess is
    # zero if nothing is discordant and nothing corrected. To import scipy.optimize for it would
    # cost every command a quarter of a second.
    start = (left_only - right_only) / pairs + 1e-12
    finest = range(int((1.0 - start) / 1e-12) + 1)
    place = bisect_left(finest, 0.0, key=lambda place: excess(start + 1e-12 * place))
    return min(1.0, start + 1e-12 * place)


def _score_sd(
    left_only: int | NDArray[np.integer],
    right_only: int | NDArray[np.integer],
    pairs: int,
    difference: float,
) -> NDArray[np.float64]:
    """Standard deviation of left_only - right_only at a true `difference` (Tango's equation)."""
    a = 2 * pairs
    b = -left_only - right_only + (2 * pairs - left_only + right_only) * difference
    c = -right_only * difference * (1 - difference)
    right_only_probability = (np.sqrt(np.maximum(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    return np.asarray(
        np.sqrt(
            np.maximum(pairs * (2 * right_only_probability + difference * (1 - difference)), 0.0)
        )
    )
