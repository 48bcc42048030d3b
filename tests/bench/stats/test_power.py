"""Power of the exact McNemar test against brute force, and the episode counts derived from it."""

import pytest
from scipy.stats import multinomial

from bench.stats.mcnemar import mcnemar_one_sided
from bench.stats.power import (
    POWER,
    episodes_for_equivalence,
    episodes_for_gain,
    mcnemar_power,
    smallest_gain,
    smallest_wins,
)


@pytest.mark.parametrize(("gain", "loss_rate"), [(0.2, 0.1), (0.4, 0.0), (0.1, 0.3), (0.0, 0.2)])
def test_power_agrees_with_summing_over_every_outcome(gain: float, loss_rate: float) -> None:
    rates = [gain + loss_rate, loss_rate, 1 - gain - 2 * loss_rate]
    expected = sum(
        multinomial.pmf([wins, losses, 15 - wins - losses], 15, rates)
        for wins in range(16)
        for losses in range(16 - wins)
        if mcnemar_one_sided(wins, losses) <= 0.05
    )
    assert mcnemar_power(15, gain, loss_rate, 0.05) == pytest.approx(expected)


def test_without_a_gain_the_power_is_at_most_alpha() -> None:
    assert all(mcnemar_power(pairs, 0.0, 0.2, 0.05) <= 0.05 for pairs in range(1, 200))


def test_smallest_gain_is_the_smallest() -> None:
    gain = smallest_gain(24, 0.05, 0.05)
    assert gain is not None
    assert mcnemar_power(24, gain, 0.05, 0.05) >= POWER > mcnemar_power(24, gain - 0.001, 0.05, 0.05)


def test_few_pairs_find_nothing() -> None:
    assert smallest_gain(2, 0.0, 0.05) is None
    assert smallest_gain(24, 0.5, 0.05) is None
    assert smallest_wins(2, 0.05) is None
    assert smallest_wins(24, 0.05) == 5


@pytest.mark.parametrize(("gain", "loss_rate"), [(0.05, 0.05), (0.1, 0.0), (0.3, 0.1)])
def test_episodes_for_a_gain_reach_the_power(gain: float, loss_rate: float) -> None:
    pairs = episodes_for_gain(gain, loss_rate, 0.05)
    assert pairs is not None
    assert mcnemar_power(pairs, gain, loss_rate, 0.05) >= POWER
    assert mcnemar_power(pairs // 2, gain, loss_rate, 0.05) < POWER


def test_connors_sample_size_formula_is_near() -> None:
    """R. J. Connor (1987), Biometrics 43:207-211, without the exact test's discreteness: within 10 %."""
    gain, loss_rate = 0.1, 0.1
    discordant, z_alpha, z_power = gain + 2 * loss_rate, 1.6448536, 0.8416212
    expected = (z_alpha * discordant**0.5 + z_power * (discordant - gain**2) ** 0.5) ** 2 / gain**2
    assert episodes_for_gain(gain, loss_rate, 0.05) == pytest.approx(expected, rel=0.1)


def test_an_impossible_gain_has_no_number() -> None:
    assert episodes_for_gain(0.5, 0.3, 0.05) is None
    assert episodes_for_gain(0.0001, 0.2, 0.05) is None


def test_episodes_for_equivalence() -> None:
    assert episodes_for_equivalence(0.05, 0.0, 0.9) == 87
    with_discordance = episodes_for_equivalence(0.05, 0.2, 0.9)
    assert with_discordance is not None
    assert with_discordance > 200
