"""Wilson intervals against published numbers, scipy and exact enumeration."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from bench.judge.stats.rates import wilson_interval


@pytest.mark.parametrize(
    ("successes", "episodes", "lower", "upper"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_newcombe_1998_table_1(successes: int, episodes: int, lower: float, upper: float) -> None:
    """R. G. Newcombe (1998), Stat. Med. 17:857-872, Table I, method 3."""
    assert wilson_interval(successes, episodes, 0.95) == pytest.approx((lower, upper), abs=5e-5)


@pytest.mark.parametrize(
    ("successes", "episodes", "confidence", "lower", "upper"),
    [
        (167, 200, 0.95, 0.7773421846094044, 0.880031446717827),
        (418, 500, 0.95, 0.8010053635257086, 0.8658710796841282),
        (0, 24, 0.95, 0.0, 0.13797620467498026),
        (23, 24, 0.9, 0.8331500703478704, 0.9906489299539268),
    ],
)
def test_statsmodels_wilson(
    successes: int, episodes: int, confidence: float, lower: float, upper: float
) -> None:
    """statsmodels 0.15.0: proportion_confint(successes, episodes, 1 - confidence, "wilson")."""
    assert wilson_interval(successes, episodes, confidence) == pytest.approx(
        (lower, upper), abs=1e-12
    )


@given(st.integers(1, 300), st.data(), st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_agrees_with_scipy(episodes: int, data: st.DataObject, confidence: float) -> None:
    successes = data.draw(st.integers(0, episodes))
    expected = binomtest(successes, episodes).proportion_ci(confidence, method="wilson")
    assert wilson_interval(successes, episodes, confidence) == pytest.approx(
        (expected.low, expected.high), abs=1e-12
    )


def test_no_episode_says_nothing() -> None:
    assert wilson_interval(0, 0, 0.95) == (0.0, 1.0)


def test_mean_coverage_at_24_episodes_is_nominal() -> None:
    """Enumerated over all outcomes and a grid of true rates: on average 95 %, never far below."""
    intervals = [wilson_interval(successes, 24, 0.95) for successes in range(25)]
    coverages = []
    for step in range(5, 96):
        rate = step / 100
        coverages.append(
            sum(
                binom.pmf(successes, 24, rate)
                for successes, (lower, upper) in enumerate(intervals)
                if lower <= rate <= upper
            )
        )
    assert sum(coverages) / len(coverages) == pytest.approx(0.95, abs=0.01)
    assert min(coverages) > 0.90
