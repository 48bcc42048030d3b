"""What needs no simulation: every outcome of a small experiment, weighed by its chance."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, xlogy
from scipy.stats import binom

from bench.judge.stats.difference import score_interval, tost_confidence
from bench.judge.stats.rates import wilson_interval

LEAST_CHANCE = 1e-10
"""Outcomes rarer than this are left out where all of them are too many."""


@dataclass(frozen=True)
class Coverage:
    """How often an interval holds the truth, over a grid of truths."""

    least: float
    mean: float


def mcnemar_size(pairs: int, discordant_rates: Sequence[float], alpha: float) -> float:
    """Chance that the exact one-sided test rejects without a difference: the most of all rates."""
    wins, losses = _outcomes(pairs)
    rejects = _rejects(wins, losses, alpha)
    return max(
        float(_chances(pairs, wins[rejects], losses[rejects], rate / 2, rate / 2).sum())
        for rate in discordant_rates
    )


def mcnemar_power_enumerated(
    pairs: int, gain: float, discordant_rate: float, alpha: float
) -> float:
    """The same where left gains: the sum over every outcome, unlike `mcnemar_power`'s."""
    wins, losses = _outcomes(pairs)
    rejects = _rejects(wins, losses, alpha)
    win_rate, loss_rate = (discordant_rate + gain) / 2, (discordant_rate - gain) / 2
    return float(_chances(pairs, wins[rejects], losses[rejects], win_rate, loss_rate).sum())


def wilson_coverage(episodes: int, confidence: float, rates: Sequence[float]) -> Coverage:
    """Coverage of Wilson's interval over true `rates`."""
    true = np.array(rates)[:, None]
    bounds = np.array(
        [wilson_interval(successes, episodes, confidence) for successes in range(episodes + 1)]
    )
    chances = binom.pmf(np.arange(episodes + 1)[None, :], episodes, true)
    holds = (bounds[None, :, 0] <= true) & (true <= bounds[None, :, 1])
    coverage = (chances * holds).sum(axis=1)
    return Coverage(float(coverage.min()), float(coverage.mean()))


def tango_coverage(pairs: int, confidence: float, steps: int) -> Coverage:
    """Coverage of `score_interval`, over true (win, loss) rates on a grid of 1 / `steps`."""
    wins, losses = _outcomes(pairs)
    intervals = [
        score_interval(int(one), int(other), pairs, confidence)
        for one, other in zip(wins, losses, strict=True)
    ]
    lower, upper = np.array([[found.lower, found.upper] for found in intervals]).T
    found = []
    for win in range(steps + 1):
        for loss in range(steps + 1 - win):
            difference = (win - loss) / steps
            holds = (lower <= difference + 1e-9) & (difference - 1e-9 <= upper)
            found.append(_chances(pairs, wins, losses, win / steps, loss / steps)[holds].sum())
    return Coverage(float(min(found)), float(np.mean(found)))


def equivalence_chance(
    pairs: int, margin: float, difference: float, discordant_rate: float, alpha: float
) -> float:
    """Chance that the score interval at 1 - 2 alpha lies inside +-`margin`: TOST's power or error.
    The likely outcomes only (``LEAST_CHANCE``), their intervals in full."""
    wins, losses = _outcomes(pairs)
    win_rate, loss_rate = (discordant_rate + difference) / 2, (discordant_rate - difference) / 2
    chances = _chances(pairs, wins, losses, win_rate, loss_rate)
    likely, confidence = chances > LEAST_CHANCE, tost_confidence(alpha)
    outcomes = zip(wins[likely], losses[likely], chances[likely], strict=True)
    return float(
        sum(
            chance
            for one, other, chance in outcomes
            if score_interval(int(one), int(other), pairs, confidence).inside(margin)
        )
    )


def _rejects(wins: NDArray[np.int64], losses: NDArray[np.int64], alpha: float) -> NDArray[np.bool_]:
    """Whether McNemar's exact test finds a gain, for each outcome."""
    return np.asarray(binom.sf(wins - 1, wins + losses, 0.5) <= alpha)


def _outcomes(pairs: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All (left only, right only) of that many pairs."""
    wins, losses = (part.ravel() for part in np.mgrid[0 : pairs + 1, 0 : pairs + 1])
    possible = wins + losses <= pairs
    return wins[possible], losses[possible]


def _chances(
    pairs: int,
    wins: NDArray[np.int64],
    losses: NDArray[np.int64],
    win_rate: float,
    loss_rate: float,
) -> NDArray[np.float64]:
    """The trinomial distribution."""
    rest = pairs - wins - losses
    ways = gammaln(pairs + 1) - gammaln(wins + 1) - gammaln(losses + 1) - gammaln(rest + 1)
    rest_rate = max(0.0, 1 - win_rate - loss_rate)
    logs = xlogy(wins, win_rate) + xlogy(losses, loss_rate) + xlogy(rest, rest_rate)
    return np.asarray(np.exp(ways + logs), dtype=np.float64)
