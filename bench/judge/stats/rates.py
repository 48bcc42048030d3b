"""Confidence intervals of one success rate."""

import math

from scipy.special import ndtri


def wilson_interval(successes: int, episodes: int, confidence: float) -> tuple[float, float]:
    """Two-sided Wilson score interval of a rate; (0, 1) without episodes.

    Source: E. B. Wilson (1927), J. Am. Stat. Assoc. 22:209-212.
    """
    assert 0 <= successes <= episodes
    if episodes == 0:
        return 0.0, 1.0
    return wilson_bounds(successes / episodes, episodes, confidence)


def wilson_bounds(rate: float, episodes: float, confidence: float) -> tuple[float, float]:
    """The same of a rate over a number of episodes that need not be whole."""
    z = float(ndtri((1 + confidence) / 2))
    shrink = 1 + z * z / episodes
    centre = (rate + z * z / (2 * episodes)) / shrink
    half = z * math.sqrt(rate * (1 - rate) / episodes + z * z / (4 * episodes**2)) / shrink
    lower = 0.0 if rate == 0 else max(0.0, centre - half)
    upper = 1.0 if rate == 1 else min(1.0, centre + half)
    return lower, upper
