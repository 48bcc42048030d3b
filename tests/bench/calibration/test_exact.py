"""Enumerations against numbers known otherwise."""

import pytest

from bench.calibration.exact import (
    equivalence_chance,
    mcnemar_power_enumerated,
    mcnemar_size,
    tango_coverage,
    wilson_coverage,
)
from bench.judge.stats.power import mcnemar_power


def test_mcnemars_size_by_hand() -> None:
    """5 pairs that all disagree: only 5 wins reject at 5 %, with chance 1 / 32."""
    assert mcnemar_size(5, [1.0, 0.2], 0.05) == pytest.approx(1 / 32)
    assert mcnemar_size(4, [1.0], 0.05) == 0


def test_both_powers_agree() -> None:
    assert mcnemar_power_enumerated(40, 0.2, 0.3, 0.05) == pytest.approx(
        mcnemar_power(40, 0.2, 0.05, 0.05), abs=1e-7
    )


def test_wilson_covers_as_published() -> None:
    """95 % intervals of 10 episodes at rate 0.5 miss 0, 1, 9 and 10 successes: 22 of 1024."""
    assert wilson_coverage(10, 0.95, [0.5]).least == pytest.approx(1 - 22 / 1024)


def test_tango_covers_nothing_less_than_it_says() -> None:
    assert tango_coverage(12, 0.95, 20).least >= 0.95


def test_false_equivalence_is_rare_and_equality_is_found() -> None:
    assert equivalence_chance(60, 0.15, 0.15, 0.2, 0.05) <= 0.05
    assert equivalence_chance(60, 0.15, 0.0, 0.05, 0.05) > 0.8
    assert equivalence_chance(20, 0.05, 0.0, 0.0, 0.05) == 0
