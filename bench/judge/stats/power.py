"""What a number of paired episodes can show: power, smallest gain found, episodes needed.

Everywhere `discordant_rate` is the share of pairs that only one of two equal arms solves, half of
them each. A true gain comes on top: the left arm alone solves discordant_rate / 2 + gain of the
pairs, the right one alone discordant_rate / 2.

Non-obvious: R. J. Connor (1987) and most sample-size formulas hold the discordance fixed, so that a
gain takes from the losses: one as large as the discordance seems to need a handful of pairs only.
"""

import functools
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bench.judge.stats.binomial import chances, critical_wins, upper_tail
from bench.judge.stats.difference import numbered, score_rejects_above
from bench.judge.stats.mcnemar import mcnemar_one_sided
from bench.judge.stats.rates import wilson_interval

POWER = 0.8
"""Chance of finding the effect that "can be found" stands for."""
MOST_EPISODES = 100_000
"""Beyond this nobody plays: the answer is None."""
NEGLIGIBLE = 1e-12
"""Outcomes that are together less likely than this are left out of a sum."""


def mcnemar_power(pairs: int, gain: float, loss_rate: float, alpha: float) -> float:
    """Chance that the exact one-sided McNemar test at `alpha` finds a difference of `gain`.

    `loss_rate` is the share of pairs that only the right arm solves; `gain + loss_rate` the share
    that only the left one solves. Exact but for outcomes of less than `NEGLIGIBLE` chance: summed
    over the number of discordant pairs, as S. Duffy (1984), Biometrics 40:1005-1015.
    """
    win_rate = gain + loss_rate
    discordant_rate = win_rate + loss_rate
    assert loss_rate >= 0
    assert win_rate >= 0
    assert discordant_rate <= 1 + 1e-12
    if discordant_rate == 0:
        return 0.0
    discordant, chance = _likely(pairs, min(discordant_rate, 1.0))
    needed = critical_wins(discordant[0], discordant[-1], alpha)
    found = upper_tail(needed, discordant, win_rate / discordant_rate)
    return float(chance @ found)


@functools.cache
def gain_power(pairs: int, gain: float, discordant_rate: float, alpha: float) -> float:
    """`mcnemar_power` if equal arms had that discordant rate, as far as the gain allows."""
    return mcnemar_power(pairs, gain, min(discordant_rate, 1 - gain) / 2, alpha)


def equivalence_power(
    pairs: int, margin: float, discordant_rate: float, confidence: float
) -> float:
    """Chance that two one-sided score tests show that equal arms are equal within `margin`.

    `confidence`: of the interval that must lie inside. Summed over the outcomes, as McNemar's.

    Non-obvious: of equally many discordant pairs, those that fall to the right arm bring the upper
    bound down. So for each number of them the tests succeed from some least number of either kind
    on, which a bisection finds for all at once.
    """
    discordant, chance = _likely(pairs, discordant_rate)
    too_few, enough = np.full_like(discordant, -1), discordant + 1
    while (enough - too_few > 1).any():
        middle = (too_few + enough) // 2
        below = score_rejects_above(discordant - middle, middle, pairs, margin, confidence) & (
            middle >= 0
        )
        too_few, enough = np.where(below, too_few, middle), np.where(below, middle, enough)
    # Of a fair coin both tails are alike.
    shown = upper_tail(enough, discordant, 0.5) - upper_tail(
        discordant - enough + 1, discordant, 0.5
    )
    return float(chance @ np.maximum(shown, 0.0))


def smallest_gain(pairs: int, discordant_rate: float, alpha: float) -> float | None:
    """Smallest true gain, to 0.1 points, that is found with chance `POWER`, if any is."""
    if pairs < 1 or gain_power(pairs, 1.0, discordant_rate, alpha) < POWER:
        return None
    low, high = 0, 1000
    while high - low > 1:
        middle = (low + high) // 2
        if gain_power(pairs, middle / 1000, discordant_rate, alpha) >= POWER:
            high = middle
        else:
            low = middle
    return high / 1000


def smallest_wins(pairs: int, alpha: float) -> int | None:
    """Fewest wins, without a loss, for which the one-sided test rejects; None above `pairs`."""
    wins = next(wins for wins in range(1, 1100) if mcnemar_one_sided(wins, 0) <= alpha)
    return wins if wins <= pairs else None


@functools.cache
def episodes_for_gain(gain: float, discordant_rate: float, alpha: float) -> int | None:
    """About how many pairs find a true `gain` with chance `POWER`; None above `MOST_EPISODES`.

    Non-obvious: power is not quite monotone in the pairs; the bisection finds where it is reached.
    """
    return _bisect(lambda pairs: gain_power(pairs, gain, discordant_rate, alpha) >= POWER)


@functools.cache
def episodes_for_equivalence(
    margin: float, discordant_rate: float, confidence: float
) -> int | None:
    """About how many pairs show with chance `POWER` that equal arms are equal, as there. With
    `discordant_rate` 0 it is the least number of pairs that can show it, whatever they are."""
    return _bisect(
        lambda pairs: equivalence_power(pairs, margin, discordant_rate, confidence) >= POWER
    )


def planning_rate(discordant: int, pairs: int) -> float:
    """The discordant rate to plan with after a pilot of `pairs`: its 80 % upper limit.

    Source: R. H. Browne (1995), Stat. Med. 14:1933-1940, who shows that a plan made with the
    pilot's own figure is too small more often than not. The limit is Wilson's.
    """
    return wilson_interval(discordant, pairs, 0.6)[1]


def design_effect(differences: NDArray[np.integer], clusters: NDArray[np.integer]) -> float:
    """How many pairs of these clusters are worth one independent pair, at least 1.

    `differences` holds left - right of each pair, `clusters` a label for each. It is the variance
    of the mean as clusters show it, by what independent pairs would have, both without bias.
    Source: L. Kish (1965), Survey Sampling, section 5.4.
    """
    cluster_of = numbered(clusters)
    pairs, number = len(differences), int(cluster_of.max(initial=-1)) + 1
    if number < 2:
        return 1.0
    centred = differences - differences.mean()
    alone = float((centred**2).sum()) * pairs / (pairs - 1)
    together = float((np.bincount(cluster_of, weights=centred) ** 2).sum()) * number / (number - 1)
    return max(1.0, together / alone) if alone > 0 else 1.0


def _likely(trials: int, rate: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The likely numbers of successes in `trials`, and their chances. How far from their mean they
    may lie: S. Bernstein's inequality (S. Boucheron, G. Lugosi, P. Massart (2013), Concentration
    Inequalities, corollary 2.11)."""
    mean, unlikely = trials * rate, math.log(2 / NEGLIGIBLE)
    reach = unlikely / 3 + math.sqrt(unlikely**2 / 9 + 2 * unlikely * mean * (1 - rate))
    lowest, highest = max(0, math.floor(mean - reach)), min(trials, math.ceil(mean + reach))
    return np.arange(lowest, highest + 1), chances(trials, rate, lowest, highest)


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
