"""The binomial distribution against `scipy.stats`, which is too slow to import for it."""

import numpy as np
import pytest
from scipy.stats import binom

from bench.judge.stats.binomial import BLOCK, chances, critical_wins, upper_tail

TRIALS = (0, 1, 2, 7, 50, 1000, 20_000)
RATES = (0.0, 1e-3, 0.3, 0.5, 1.0)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("trials", TRIALS)
def test_tails_and_chances(trials: int, rate: float) -> None:
    wins = np.arange(-2, trials + 3)
    expected = binom.sf(wins - 1, trials, rate)
    assert upper_tail(wins, trials, rate) == pytest.approx(expected, rel=1e-9, abs=1e-290)
    every = np.arange(trials + 1)
    expected = binom.pmf(every, trials, rate)
    assert chances(trials, rate) == pytest.approx(expected, rel=1e-9, abs=1e-290)
    assert chances(trials, rate, trials // 3, trials // 2).tolist() == (
        chances(trials, rate)[trials // 3 : trials // 2 + 1].tolist()
    )


@pytest.mark.parametrize("alpha", [1e-9, 0.025 / 3, 0.05, 0.5, 0.9])
def test_critical_numbers(alpha: float) -> None:
    fewest, most = BLOCK - 20, 3 * BLOCK + 5
    trials = np.arange(fewest, most + 1)
    needed = critical_wins(fewest, most, alpha)
    assert (needed == binom.isf(alpha, trials, 0.5) + 1).all()
    assert (upper_tail(needed, trials, 0.5) <= alpha).all()
    assert (upper_tail(needed - 1, trials, 0.5) > alpha).all()


def test_few_trials_can_need_more_than_there_are() -> None:
    assert critical_wins(0, 5, 0.05).tolist() == [1, 2, 3, 4, 5, 5]
