"""Holm's adjustment against R, and against the closed test it abbreviates."""

import functools
import itertools
import operator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.judge.stats.holm import holm_adjusted, holm_rejected


def test_rs_p_adjust() -> None:
    """R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm") is 0.03 0.06 0.06 0.02."""
    assert holm_adjusted([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_statsmodels_multipletests() -> None:
    """statsmodels 0.15.0: multipletests([0.001, 0.0133, 0.0421, 0.0171, 0.6], method="holm")[1]."""
    found = holm_adjusted([0.001, 0.0133, 0.0421, 0.0171, 0.6])
    assert found == pytest.approx([0.005, 0.0532, 0.0842, 0.0532, 0.6])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_equals_the_closed_bonferroni_test(p_values: list[float]) -> None:
    """A claim's adjusted p is the largest Bonferroni p of all groups of claims that hold it."""
    claims = range(len(p_values))
    for claim, found in enumerate(holm_adjusted(p_values)):
        groups = [
            group
            for size in range(1, len(p_values) + 1)
            for group in itertools.combinations(claims, size)
            if claim in group
        ]
        expected = max(min(1.0, len(group) * min(p_values[i] for i in group)) for group in groups)
        assert found == pytest.approx(expected)


def test_one_claim_is_not_adjusted_and_none_is_fine() -> None:
    assert holm_adjusted([0.04]) == [0.04]
    assert holm_adjusted([]) == []


@given(st.lists(st.floats(0, 1), max_size=6), st.floats(0.001, 0.5))
def test_of_p_values_as_tests_it_rejects_the_same(p_values: list[float], alpha: float) -> None:
    assert holm_rejected([functools.partial(operator.le, p) for p in p_values], alpha) == [
        p <= alpha for p in holm_levels(p_values, alpha)
    ]


def holm_levels(p_values: list[float], alpha: float) -> list[float]:
    """Holm's own wording: from the smallest on, as long as each is at most alpha by the number that
    is left."""
    found = [1.0] * len(p_values)
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        if p_values[i] > alpha / (len(p_values) - rank):
            break
        found[i] = 0.0
    return found
