"""Power of the exact McNemar test and of equivalence against brute force and published formulas,
and the counts derived."""

import numpy as np
import pytest
from scipy.stats import multinomial, norm

from bench.judge.stats.difference import score_interval, tost_confidence
from bench.judge.stats.mcnemar import mcnemar_one_sided
from bench.judge.stats.power import (
    POWER,
    design_effect,
    episodes_for_equivalence,
    episodes_for_gain,
    equivalence_power,
    gain_power,
    mcnemar_power,
    planning_rate,
    smallest_gain,
    smallest_wins,
)


@pytest.mark.parametrize(
    ("gain", "discordant_rate"), [(0.2, 0.4), (0.4, 0.0), (0.1, 0.7), (0.0, 0.4), (0.6, 0.8)]
)
def test_power_agrees_with_summing_over_every_outcome(gain: float, discordant_rate: float) -> None:
    losses = min(discordant_rate, 1 - gain) / 2
    rates = [losses + gain, losses, max(0.0, 1 - gain - 2 * losses)]
    expected = sum(
        multinomial.pmf([wins, losses, 15 - wins - losses], 15, rates)
        for wins in range(16)
        for losses in range(16 - wins)
        if mcnemar_one_sided(wins, losses) <= 0.05
    )
    assert gain_power(15, gain, discordant_rate, 0.05) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("pairs", "win_rate", "loss_rate", "power"),
    [(100, 0.20, 0.10, 0.514606143), (200, 0.20, 0.10, 0.80298386), (50, 0.32, 0.08, 0.839356985)],
)
def test_exact_mcnemar_power_of_pwrss(
    pairs: int, win_rate: float, loss_rate: float, power: float
) -> None:
    """R, pwrss: power.exact.mcnemar(..., alpha = 0.05, alternative = "one.sided", method =
    "exact"), of its own tests/testthat/test-proportions.mcnemar.R. The last is example 5.3 of
    G*Power's manual (O'Brien 2002), there 0.839343."""
    assert mcnemar_power(pairs, win_rate - loss_rate, loss_rate, 0.05) == pytest.approx(
        power, rel=1e-8
    )


def test_equivalence_power_agrees_with_summing_over_every_outcome() -> None:
    expected = 0.0
    for wins in range(61):
        for losses in range(61 - wins):
            if score_interval(wins, losses, 60, 0.9).inside(0.2):
                expected += multinomial.pmf([wins, losses, 60 - wins - losses], 60, [0.1, 0.1, 0.8])
    assert 0.1 < expected < 0.9
    assert equivalence_power(60, 0.2, 0.2, tost_confidence(0.05)) == pytest.approx(expected)


def test_without_a_gain_the_power_is_at_most_alpha() -> None:
    assert all(gain_power(pairs, 0.0, 0.4, 0.05) <= 0.05 for pairs in range(1, 200))
    assert gain_power(100, 0.0, 0.0, 0.05) == 0.0


def test_smallest_gain_is_the_smallest() -> None:
    gain = smallest_gain(24, 0.1, 0.05)
    assert gain is not None
    assert gain_power(24, gain, 0.1, 0.05) >= POWER > gain_power(24, gain - 0.001, 0.1, 0.05)


def test_few_pairs_find_nothing() -> None:
    assert smallest_gain(0, 0.0, 0.05) is None
    assert smallest_gain(2, 0.0, 0.05) is None
    assert smallest_gain(4, 1.0, 0.05) is None
    assert smallest_wins(2, 0.05) is None
    assert smallest_wins(24, 0.05) == 5


@pytest.mark.parametrize(("gain", "discordant_rate"), [(0.05, 0.1), (0.1, 0.0), (0.3, 0.2)])
def test_episodes_for_a_gain_reach_the_power(gain: float, discordant_rate: float) -> None:
    pairs = episodes_for_gain(gain, discordant_rate, 0.05)
    assert pairs is not None
    assert gain_power(pairs, gain, discordant_rate, 0.05) >= POWER
    assert gain_power(pairs // 2, gain, discordant_rate, 0.05) < POWER


@pytest.mark.parametrize(
    ("gain", "discordant_rate"), [(0.02, 0.2), (0.03, 0.2), (0.05, 0.2), (0.1, 0.3)]
)
def test_connors_sample_size_formula_is_near(gain: float, discordant_rate: float) -> None:
    """R. J. Connor (1987), Biometrics 43:207-211, without the exact test's discreteness: within 10
    %."""
    z_alpha, z_power = norm.isf(0.05), norm.isf(1 - POWER)
    total = discordant_rate + gain
    expected = (z_alpha * total**0.5 + z_power * (total - gain**2) ** 0.5) ** 2 / gain**2
    assert episodes_for_gain(gain, discordant_rate, 0.05) == pytest.approx(expected, rel=0.1)


def test_a_tiny_gain_has_no_number() -> None:
    assert episodes_for_gain(0.0001, 0.4, 0.05) is None
    assert episodes_for_equivalence(0.001, 0.4, 0.9) is None


def test_episodes_for_equivalence() -> None:
    assert episodes_for_equivalence(0.05, 0.0, 0.9) == 87
    with_discordance = episodes_for_equivalence(0.05, 0.2, 0.9)
    assert with_discordance is not None
    assert equivalence_power(with_discordance, 0.05, 0.2, 0.9) >= POWER


def test_the_normal_sample_size_formula_of_equivalence_is_near() -> None:
    """n = (z_(1-alpha) + z_(1-beta/2))^2 psi / margin^2, as in J. P. Liu et al. (2002), Stat. Med.
    21:231-245; within 10 %.

    Liu's formula knows no continuity correction, which costs a little.
    """
    expected = (norm.isf(0.05) + norm.isf((1 - POWER) / 2)) ** 2 * 0.2 / 0.05**2
    found = episodes_for_equivalence(0.05, 0.2, 0.9)
    assert found == pytest.approx(expected, rel=0.1)
    assert found is not None
    assert found > expected


def test_a_pilot_without_discordance_is_not_planned_with_as_if_there_were_none() -> None:
    """Wilson's upper limit at z = 0.8416: z^2 / (n + z^2) without any, and never below the pilot's
    own rate."""
    z2 = 0.8416212335729143**2
    assert planning_rate(0, 24) == pytest.approx(z2 / (24 + z2))
    assert all(planning_rate(found, 24) > found / 24 for found in range(24))
    assert planning_rate(400, 2000) == pytest.approx(0.2, abs=0.01)


def test_design_effect_counts_equal_repeats_once() -> None:
    differences = np.array([1, 0, -1, 1, 0, 0, 1, -1])
    assert design_effect(differences, np.arange(8)) == 1.0
    assert design_effect(np.repeat(differences, 5), np.repeat(np.arange(8), 5)) == pytest.approx(
        5 * (8 / 7) * (39 / 40)
    )
    assert design_effect(np.zeros(8, dtype=int), np.zeros(8, dtype=int)) == 1.0
    assert design_effect(np.zeros(0, dtype=int), np.zeros(0, dtype=int)) == 1.0


def test_design_effect_is_statsmodels_cluster_robust_variance_by_the_plain_one(
    clustered_pairs: tuple[np.ndarray, np.ndarray],
) -> None:
    """statsmodels 0.15.0, of OLS(differences, ones):

    bse[0] of fit() and of fit(cov_type="cluster", cov_kwds={"groups": clusters}).
    """
    plain, robust = 0.023051677043981842, 0.039719559903115834
    assert design_effect(*clustered_pairs) == pytest.approx((robust / plain) ** 2, rel=1e-9)


def test_design_effect_is_kishs() -> None:
    """1 + (m - 1) rho, for clusters of m pairs with intra-cluster correlation rho; L. Kish (1965),
    section 5.4."""
    draws = np.random.Generator(np.random.PCG64(2))
    shared, own = draws.normal(size=(20_000, 1)), draws.normal(size=(20_000, 4))
    differences = np.rint(2 * (0.5**0.5 * shared + 0.5**0.5 * own)).astype(int)
    rho = np.corrcoef(differences[:, 0], differences[:, 1])[0, 1]
    found = design_effect(differences.ravel(), np.repeat(np.arange(20_000), 4))
    assert found == pytest.approx(1 + 3 * rho, rel=0.03)
