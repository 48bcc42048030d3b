"""Spending functions: their ends, and that they never give back."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.judge.stats.sequential import normal_boundaries
from bench.judge.stats.spending import SPENDING, obrien_fleming_spending, pocock_spending

fractions = st.floats(0, 1)
RPACT_OBRIEN_FLEMING = (2.1280732, 1.4368565, 1.422873, 1.2970881)
RPACT_POCOCK = (1.5446617, 1.4828682, 1.4620058)


@pytest.mark.parametrize("name", SPENDING)
@given(one=fractions, other=fractions, alpha=st.sampled_from([0.01, 0.025, 0.05]))
def test_from_nothing_to_alpha_and_never_back(
    name: str, one: float, other: float, alpha: float
) -> None:
    spend = SPENDING[name]
    assert spend(0.0, alpha) == 0
    assert spend(1.0, alpha) == pytest.approx(alpha)
    low, high = sorted((one, other))
    assert spend(low, alpha) <= spend(high, alpha)


@pytest.mark.parametrize(
    ("name", "looks", "spent", "boundaries"),
    [
        (
            "obrien-fleming",
            (0.4, 0.75, 0.85, 1.0),
            (0.016665509, 0.080406163, 0.10053322, 0.13),
            RPACT_OBRIEN_FLEMING,
        ),
        ("pocock", (0.35, 0.7, 1.0), (0.061214062, 0.10266465, 0.13), RPACT_POCOCK),
    ],
)
def test_rpacts_designs_of_unequal_looks(
    name: str, looks: tuple[float, ...], spent: tuple[float, ...], boundaries: tuple[float, ...]
) -> None:
    """R, rpact: getDesignGroupSequential(alpha = 0.13, typeOfDesign = "asOF" or "asP",
    informationRates = looks) with futility bounds that do not bind, of its own
    tests/testthat/test-f_design_group_sequential.R: alphaSpent and criticalValues."""
    found = tuple(SPENDING[name](look, 0.13) for look in looks)
    assert found == pytest.approx(spent, abs=1e-8)
    assert normal_boundaries(looks, found) == pytest.approx(boundaries, abs=1e-6)


def test_the_formulas() -> None:
    """Half-way: 2 - 2 Phi(z_{alpha/2} / sqrt t) with z = 2.2414 for alpha 0.025 one-sided; alpha
    ln(1 + (e - 1) t)."""
    assert obrien_fleming_spending(0.5, 0.025) == pytest.approx(
        math.erfc(2.241402728 / math.sqrt(0.5) / math.sqrt(2))
    )
    assert pocock_spending(0.5, 0.025) == pytest.approx(0.025 * math.log(1 + (math.e - 1) / 2))
