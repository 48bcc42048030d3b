"""Spending functions: their ends, and that they never give back."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.stats.spending import SPENDING, obrien_fleming_spending, pocock_spending

fractions = st.floats(0, 1)


@pytest.mark.parametrize("name", SPENDING)
@given(one=fractions, other=fractions, alpha=st.sampled_from([0.01, 0.025, 0.05]))
def test_from_nothing_to_alpha_and_never_back(name: str, one: float, other: float, alpha: float) -> None:
    spend = SPENDING[name]
    assert spend(0.0, alpha) == 0
    assert spend(1.0, alpha) == pytest.approx(alpha)
    low, high = sorted((one, other))
    assert spend(low, alpha) <= spend(high, alpha)


def test_the_formulas() -> None:
    """Half-way: 2 - 2 Phi(z_{alpha/2} / sqrt t) with z = 2.2414 for alpha 0.025 one-sided; alpha ln(1 + (e - 1) t)."""
    assert obrien_fleming_spending(0.5, 0.025) == pytest.approx(math.erfc(2.241402728 / math.sqrt(0.5) / math.sqrt(2)))
    assert pocock_spending(0.5, 0.025) == pytest.approx(0.025 * math.log(1 + (math.e - 1) / 2))
