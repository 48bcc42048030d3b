"""What looking before the end costs and saves, by the normal approximation."""

import functools
import math

import numpy as np
from scipy.special import ndtr, ndtri

from bench.judge.stats.sequential import crossing_chances, normal_boundaries

LARGEST_DRIFT = 20.0
"""Of a statistic whose every look is sure to cross."""


def nominal_confidence(fractions: tuple[float, ...], spent: tuple[float, ...], look: int) -> float:
    """Confidence of the two-sided interval at a look, from 1, by the one-sided boundary there.

    If half of alpha is `spent` by the last look, the intervals of all looks hold the truth together
    with a chance of 1 - alpha, and so does the last one, for whatever reason it is the last:
    repeated confidence intervals, C. Jennison and B. W. Turnbull (1989), J. R. Stat. Soc. B
    51:305-361. At the first look nothing was spent before, so its own error is what is spent there.
    """
    if look == 1:
        return 1 - 2 * spent[0]
    return 1 - 2 * float(ndtr(-normal_boundaries(fractions, spent)[look - 1]))


@functools.cache
def inflation(fractions: tuple[float, ...], spent: tuple[float, ...], power: float) -> float:
    """How many times the pairs of one look at the end it takes for the same `power`.

    Source: Jennison and Turnbull (2000), section 2.3 (the ratio R).
    """
    if len(fractions) == 1:
        return 1.0
    fixed = float(-ndtri(spent[-1]) + ndtri(power))
    return (drift_for(fractions, spent, power) / fixed) ** 2


@functools.cache
def drift_for(fractions: tuple[float, ...], spent: tuple[float, ...], power: float) -> float:
    """Mean of the statistic of all the data with which it crosses with the chance `power`."""
    from scipy.optimize import brentq  # as in bench.judge.stats.sequential

    boundaries = normal_boundaries(fractions, spent)
    return float(
        brentq(
            lambda drift: sum(crossing_chances(fractions, boundaries, drift)) - power,
            0.0,
            LARGEST_DRIFT,
            xtol=1e-9,
        )
    )


def mean_share(fractions: tuple[float, ...], spent: tuple[float, ...], drift: float) -> float:
    """Mean share of the pairs that is played until a boundary is crossed, or the end."""
    crossing = crossing_chances(fractions, normal_boundaries(fractions, spent), drift)
    return float(np.dot(crossing, fractions) + 1 - sum(crossing))


def chance_above(estimate: float, se: float, fraction: float, truth: float, least: float) -> float:
    """Chance that the final estimate is above `least`, given the one at `fraction` of the data.
    `se` is the standard error of that final estimate, `truth` what the rest of the data is drawn
    around. Conditional power, as in Jennison and Turnbull (2000), section 10.2."""
    assert 0 < fraction < 1
    mean = fraction * estimate + (1 - fraction) * truth
    return float(ndtr((mean - least) / (se * math.sqrt(1 - fraction))))
