"""What looks cost and save, against published values and simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from bench.judge.stats.interim import (
    chance_above,
    drift_for,
    inflation,
    mean_share,
    nominal_confidence,
)
from bench.judge.stats.sequential import crossing_chances, normal_boundaries
from bench.judge.stats.spending import SPENDING

FIVE = (0.2, 0.4, 0.6, 0.8, 1.0)


def spent(spending: str, alpha: float) -> tuple[float, ...]:
    return tuple(SPENDING[spending](t, alpha) for t in FIVE)


def simulated(fractions: tuple[float, ...], drift: float, paths: int = 200_000) -> np.ndarray:
    """Standardised statistics, shape (paths, looks)."""
    steps = np.diff((0.0, *fractions))
    return np.random.default_rng(0).normal(
        drift * steps, np.sqrt(steps), size=(paths, len(fractions))
    ).cumsum(axis=1) / np.sqrt(fractions)


@pytest.mark.parametrize("spending", sorted(SPENDING))
def test_drift_and_share_by_simulation(spending: str) -> None:
    errors = spent(spending, 0.025)
    drift = drift_for(FIVE, errors, 0.8)
    above = simulated(FIVE, drift) >= np.array(normal_boundaries(FIVE, errors))
    assert above.any(axis=1).mean() == pytest.approx(0.8, abs=0.004)
    stops = np.where(above.any(axis=1), above.argmax(axis=1), len(FIVE) - 1)
    assert mean_share(FIVE, errors, drift) == pytest.approx(np.array(FIVE)[stops].mean(), abs=0.003)


def test_looks_cost_little_by_obrien_fleming_and_more_by_pocock() -> None:
    """Pocock's own bounds cost 1.228 at 5 looks (alpha 0.05 two-sided, power 0.8),
    O'Brien-Fleming's 1.028: Jennison and Turnbull (2000), tables 2.2 and 2.4. Spending functions
    come near them, not onto them."""
    assert inflation(FIVE, spent("pocock", 0.025), 0.8) == pytest.approx(1.228, abs=0.03)
    assert inflation(FIVE, spent("obrien-fleming", 0.025), 0.8) == pytest.approx(1.028, abs=0.01)


def test_published_bounds_cost_what_is_published() -> None:
    """The same tables, exactly: bounds 2.413 and 2.040 sqrt(5 / k)."""
    fixed = norm.isf(0.025) + norm.ppf(0.8)
    for bounds, ratio in (
        [(2.413,) * 5, 1.228],
        [tuple(2.040 * (5 / k) ** 0.5 for k in range(1, 6)), 1.028],
    ):
        assert sum(crossing_chances(FIVE, bounds, fixed * ratio**0.5)) == pytest.approx(
            0.8, abs=0.002
        )


def test_one_look_costs_nothing() -> None:
    assert inflation((1.0,), (0.05,), 0.8) == pytest.approx(1, abs=1e-6)
    assert mean_share((1.0,), (0.05,), 2.0) == pytest.approx(1)


def test_nominal_confidence() -> None:
    assert nominal_confidence((1.0,), (0.025,), 1) == 0.95
    two = (0.5, 1.0), (0.01, 0.025)
    assert nominal_confidence(*two, 1) == 0.98
    bound = normal_boundaries(*two)[1]
    assert nominal_confidence(*two, 2) == pytest.approx(2 * norm.cdf(bound) - 1)
    assert 0.95 < nominal_confidence(*two, 2) < 0.98


def test_repeated_intervals_hold_the_truth_together() -> None:
    """All five of one path at once, whatever the drift is: 95 % of paths."""
    bounds = np.array(normal_boundaries(FIVE, spent("pocock", 0.025)))
    away = np.abs(simulated(FIVE, 1.3) - 1.3 * np.sqrt(FIVE))
    assert (away < bounds).all(axis=1).mean() == pytest.approx(0.95, abs=0.003)


@given(
    st.floats(-0.5, 0.5),
    st.floats(0.01, 0.3),
    st.floats(0.1, 0.9),
    st.floats(-0.3, 0.3),
    st.floats(-0.3, 0.3),
)
def test_conditional_power(
    estimate: float, se: float, fraction: float, truth: float, least: float
) -> None:
    """The final estimate is normal around the mean of what is there and what is to come; the rest
    of the data varies it."""
    rest = norm(loc=(least - fraction * estimate) / (1 - fraction), scale=1)
    expected = norm.sf(rest.mean(), loc=truth, scale=se * np.sqrt(1 - fraction) / (1 - fraction))
    assert chance_above(estimate, se, fraction, truth, least) == pytest.approx(expected, abs=1e-9)


def test_conditional_power_by_simulation() -> None:
    """Score at t = 0.4 is 0.9; the rest is drawn with drift 2."""
    rest = np.random.default_rng(1).normal(2 * 0.6, np.sqrt(0.6), size=400_000)
    found = (0.9 + rest >= 1.96).mean()
    assert chance_above(0.9 / 0.4, 1.0, 0.4, 2.0, 1.96) == pytest.approx(found, abs=0.003)
