"""Group-sequential tests: looks before all the data is there, at one alpha together. Two kinds: the
flip test, exact for paired episodes, decides; the normal one plans."""

import functools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from bench.judge.stats.mcnemar import flip_distribution

NODES = 100
"""Of the Gauss-Legendre rule at each look: 5 looks then agree with 1200 nodes to 12 digits."""
FARTHEST = 10.0
"""Standard deviations below the mean beyond which nothing is integrated."""


def flip_boundaries(
    cluster_sums: Sequence[NDArray[np.integer]], levels: Sequence[Sequence[float]]
) -> list[list[int]]:
    """For each level and look the smallest total of left - right at which the one-sided test of
    left > right rejects.

    Args:
        cluster_sums: for each look, the sum of left - right over each cluster that is new since the
        look before. Of these only
            the sizes are used, not the signs. They may end before the last look.
        levels: for each, the strictest first, the error that may have been spent by each look,
        non-decreasing.

    If left and right do not differ, every cluster sum is as likely with the other sign. Given the
    sizes, the paths of the total over the looks are then known with their chances, and each
    boundary is the smallest that keeps the chance of having crossed so far within what may be
    spent: an exact test. A total beyond reach (every sum positive, plus one) cannot be crossed.

    Sources: the sign flips are those of `bench.judge.stats.mcnemar.cluster_flip_one_sided`; the
    recursion is that of P. Armitage, C. K. McPherson and B. C. Rowe (1969), J. R. Stat. Soc. A
    132:235-244, on a lattice, where it needs no integration.

    Non-obvious: error that a coarse lattice left unspent at one look is available at the next. And
    no level's boundary lies above a stricter one's: Holm's procedure needs that (W. Maurer and F.
    Bretz (2013), Stat. Biopharm. Res. 5:311-320, for normal boundaries, which have it by
    themselves). On a lattice a milder level can spend at one look what it then lacks at the next.
    So before the last look it leaves as much unspent as the stricter level did; its boundaries then
    cost it no more than that one's would.
    """
    steps = [flip_distribution(new) for new in cluster_sums]
    last = len(levels[0]) - 1
    kept = [0.0] * len(steps)
    found = []
    for spent in levels:
        boundaries, kept = _lattice_boundaries(
            steps,
            [
                allowed - (kept[look] if look < last else 0.0)
                for look, allowed in enumerate(spent[: len(steps)])
            ],
            spent,
        )
        found.append(boundaries)
    return found


def _lattice_boundaries(
    steps: Sequence[NDArray[np.float64]], may_spend: Sequence[float], spent: Sequence[float]
) -> tuple[list[int], list[float]]:
    """The smallest boundary at each look within `may_spend`, and how far it stays below `spent`.
    `steps`: for each look, the chances of what it adds to the total, from least to most."""
    going: NDArray[np.float64] = np.ones(
        1
    )  # chance of each total, from -reach to reach, without having crossed
    reach, crossed, boundaries, unspent = 0, 0.0, [], []
    for step, allowed, at_most in zip(steps, may_spend, spent, strict=False):
        going = np.asarray(np.convolve(going, step), dtype=np.float64)
        reach += (len(step) - 1) // 2
        tails = np.cumsum(going[::-1])[::-1]  # chance of at least each total
        rejecting = np.flatnonzero(tails <= allowed - crossed + 1e-12)
        first = int(rejecting[0]) if len(rejecting) else len(going)
        # A total that no pattern has is no boundary: begin at the next one that occurs.
        occurring = np.flatnonzero(going[first:] > 0)
        first = first + int(occurring[0]) if len(occurring) else len(going)
        crossed += float(going[first:].sum())
        going[first:] = 0.0
        boundaries.append(first - reach)
        unspent.append(max(at_most - crossed, 0.0))
    return boundaries, unspent


@functools.cache
def normal_boundaries(fractions: tuple[float, ...], spent: tuple[float, ...]) -> tuple[float, ...]:
    """One-sided upper boundaries of a normal statistic with independent increments, by look.

    `fractions` of the information, increasing to 1; `spent` as in `flip_boundaries`, increasing.
    Source: the recursive integration of Armitage, McPherson and Rowe (1969), as in C. Jennison and
    B. W. Turnbull (2000), Group Sequential Methods, chapter 19.
    """
    from scipy.optimize import brentq  # a quarter of a second to import, for several looks only

    boundaries: list[float] = []
    before = 0.0
    for fraction, allowed in zip(fractions, spent, strict=True):
        paths = _uncrossed(fractions, boundaries, 0.0)
        newly = allowed - before
        boundaries.append(
            brentq(
                lambda bound, paths=paths, t=fraction, new=newly: (
                    _beyond(paths, t, bound, 0.0) - new
                ),
                -FARTHEST,
                FARTHEST,
            )
        )
        before = allowed
    return tuple(boundaries)


def crossing_chances(
    fractions: Sequence[float], boundaries: Sequence[float], drift: float
) -> list[float]:
    """Chance to cross first at each look; all the data has mean `drift` and variance 1."""
    return [
        _beyond(_uncrossed(fractions, boundaries[:look], drift), fractions[look], bound, drift)
        for look, bound in enumerate(boundaries)
    ]


Paths = tuple[NDArray[np.float64], NDArray[np.float64], float]
"""Where the score stands at the last look, with which chance, uncrossed; that look's fraction."""


def _uncrossed(fractions: Sequence[float], boundaries: Sequence[float], drift: float) -> Paths:
    """After as many looks as there are `boundaries`: nodes and weights of a Gauss-Legendre rule.
    The score at fraction t has mean drift x t and variance t; the statistic is score / sqrt(t)."""
    rule, weights = _gauss_legendre()
    nodes: NDArray[np.float64] = np.zeros(1)
    chances: NDArray[np.float64] = np.ones(1)
    at = 0.0
    for fraction, bound in zip(fractions, boundaries, strict=False):
        low, high = drift * fraction - FARTHEST * math.sqrt(fraction), bound * math.sqrt(fraction)
        half, step = (high - low) / 2, fraction - at
        points = low + half * (1 + rule)
        away = (points[None, :] - nodes[:, None] - drift * step) / math.sqrt(step)
        density = chances @ np.exp(-(away**2) / 2) / math.sqrt(2 * math.pi * step)
        nodes, chances, at = points, density * weights * half, fraction
    return nodes, chances, at


@functools.cache
def _gauss_legendre() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes and weights on [-1, 1]."""
    return np.polynomial.legendre.leggauss(NODES)


def _beyond(paths: Paths, fraction: float, bound: float, drift: float) -> float:
    """Chance of not having crossed before and lying above `bound` at the look at `fraction`."""
    nodes, chances, at = paths
    step = fraction - at
    return float(
        chances @ ndtr((nodes + drift * step - bound * math.sqrt(fraction)) / math.sqrt(step))
    )
