"""The binomial distribution, from `scipy.special`: `scipy.stats` takes half a second to import."""

import functools
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, betaln, ndtri, xlog1py, xlogy

BLOCK = 1024
"""Numbers of trials whose critical numbers are computed at a time."""


def upper_tail(successes: ArrayLike, trials: ArrayLike, rate: float) -> NDArray[np.float64]:
    """Chance of at least so many successes; shapes are broadcast.

    Source: the incomplete beta function, M. Abramowitz and I. Stegun (1964), 26.5.24.
    """
    least, most = np.broadcast_arrays(np.asarray(successes), np.asarray(trials))
    inside = (least > 0) & (least <= most)
    chance = betainc(np.where(inside, least, 1), np.where(inside, most - least + 1, 1), rate)
    return np.where(inside, chance, np.where(least <= 0, 1.0, 0.0))


def chances(
    trials: int, rate: float, lowest: int = 0, highest: int | None = None
) -> NDArray[np.float64]:
    """Chance of each number of successes from `lowest` to `highest`, which is `trials` if None."""
    wins = np.arange(lowest, (trials if highest is None else highest) + 1)
    losses = trials - wins
    ways = -betaln(losses + 1, wins + 1) - math.log(trials + 1)
    return np.asarray(np.exp(ways + xlogy(wins, rate) + xlog1py(losses, -rate)))


def critical_wins(fewest: int, most: int, alpha: float) -> NDArray[np.int64]:
    """Of each number of trials from `fewest` to `most` the fewest successes of a fair coin whose
    `upper_tail` is at most `alpha`, in (0, 1); one more than the trials if none is. Non-obvious: a
    search for a number of episodes asks again and again for almost the same numbers."""
    first, last = fewest // BLOCK, most // BLOCK
    blocks = [_critical_wins(block, alpha) for block in range(first, last + 1)]
    return np.concatenate(blocks)[fewest - first * BLOCK : most + 1 - first * BLOCK]


@functools.cache
def _critical_wins(block: int, alpha: float) -> NDArray[np.int64]:
    """Begun at what a normal variable would need, and moved from there."""
    trials = np.arange(block * BLOCK, (block + 1) * BLOCK)
    normal = np.ceil((trials - ndtri(alpha) * np.sqrt(trials) + 1) / 2)
    wins = np.clip(normal, 0, trials + 1).astype(np.int64)
    while (up := upper_tail(wins, trials, 0.5) > alpha).any():
        wins += up
    while (down := upper_tail(wins - 1, trials, 0.5) <= alpha).any():
        wins -= down
    return wins
