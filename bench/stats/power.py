"""What a number of episodes can show: smallest gain found, episodes needed."""

from collections.abc import Callable

import numpy as np
from scipy.stats import binom

from bench.stats.difference import score_interval
from bench.stats.mcnemar import mcnemar_one_sided

POWER = 0.8
"""Chance of finding the effect that "can be found" stands for."""
MOST_EPISODES = 100_000
"""Beyond this nobody plays: the answer is None."""


def mcnemar_power(pairs: int, gain: float, loss_rate: float, alpha: float) -> float:
    """Chance that the exact one-sided McNemar test at `alpha` finds a difference of `gain`.

    `loss_rate` is the share of pairs that only the right arm solves; `gain + loss_rate` the share that only the
    left one solves. Exact: summed over the number of discordant pairs, as S. Duffy (1984), Biometrics 40:1005-1015.
    """
    win_rate = gain + loss_rate
    discordant_rate = win_rate + loss_rate
    assert loss_rate >= 0
    assert win_rate > 0
    assert discordant_rate <= 1
    discordant = np.arange(pairs + 1)
    needed = binom.isf(alpha, discordant, 0.5) + 1
    found = binom.sf(needed - 1, discordant, win_rate / discordant_rate)
    return float(binom.pmf(discordant, pairs, discordant_rate) @ found)


def smallest_gain(pairs: int, loss_rate: float, alpha: float) -> float | None:
    """Smallest true gain, to 0.1 points, that is found with chance `POWER`; None where no gain is."""
    most = 1 - 2 * loss_rate
    if most <= 0 or mcnemar_power(pairs, most, loss_rate, alpha) < POWER:
        return None
    low, high = 0, int(np.floor(most * 1000))
    if high == 0 or mcnemar_power(pairs, high / 1000, loss_rate, alpha) < POWER:
        return most
    while high - low > 1:
        middle = (low + high) // 2
        if mcnemar_power(pairs, middle / 1000, loss_rate, alpha) >= POWER:
            high = middle
        else:
            low = middle
    return high / 1000


def smallest_wins(pairs: int, alpha: float) -> int | None:
    """Fewest pairs that left must win, losing none, for the one-sided test to reject; None above `pairs`."""
    wins = next(wins for wins in range(1, 1100) if mcnemar_one_sided(wins, 0) <= alpha)
    return wins if wins <= pairs else None


def episodes_for_gain(gain: float, loss_rate: float, alpha: float) -> int | None:
    """About how many pairs find a true `gain` with chance `POWER`; None above `MOST_EPISODES`.

    Non-obvious: power is not quite monotone in the number of pairs, because the test is exact; the bisection
    returns a number at which it is reached.
    """
    if gain + 2 * loss_rate > 1:
        return None
    return _bisect(lambda pairs: mcnemar_power(pairs, gain, loss_rate, alpha) >= POWER)


def episodes_for_equivalence(margin: float, discordant_rate: float, confidence: float) -> int | None:
    """About how many pairs show equivalence when no difference at all is observed; None above `MOST_EPISODES`.

    `discordant_rate` is the share of pairs that only one of the two arms solves, half of them each.
    """

    def shows(pairs: int) -> bool:
        each = round(discordant_rate * pairs / 2)
        return score_interval(each, each, pairs, confidence).inside(margin)

    return _bisect(shows)


def _bisect(enough: Callable[[int], bool]) -> int | None:
    low, high = 0, 8
    while not enough(high):
        low, high = high, 2 * high
        if high > MOST_EPISODES:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        if enough(middle):
            high = middle
        else:
            low = middle
    return high
