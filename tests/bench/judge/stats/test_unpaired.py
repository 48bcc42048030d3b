"""Unpaired rates: published examples, scipy's Fisher test, and true error and coverage by exact
enumeration."""

import itertools

import numpy as np
import pytest
from scipy.stats import binom, fisher_exact

from bench.judge.stats.unpaired import Stratum, exact_one_sided, newcombe_interval, standardise


def interval(
    left: int, left_episodes: int, right: int, right_episodes: int, confidence: float = 0.95
) -> tuple[float, float]:
    found = newcombe_interval(
        standardise([Stratum(left, left_episodes, right, right_episodes)]), confidence
    )
    return found.lower, found.upper


@pytest.mark.parametrize(
    ("counts", "lower", "upper"),
    [  # table II of Newcombe (1998), method 10
        ((56, 70, 48, 80), 0.0524, 0.3339),
        ((9, 10, 3, 10), 0.1705, 0.8090),
        ((6, 7, 2, 7), 0.0582, 0.8062),
        ((5, 56, 0, 29), -0.0381, 0.1926),
        ((0, 10, 0, 20), -0.1611, 0.2775),
        ((10, 10, 0, 20), 0.6791, 1.0),
    ],
)
def test_newcombes_own_examples(
    counts: tuple[int, int, int, int], lower: float, upper: float
) -> None:
    assert interval(*counts) == pytest.approx((lower, upper), abs=5e-5)


@pytest.mark.parametrize(
    ("left", "right"), [(0.5, 0.5), (0.7, 0.8), (0.9, 0.9), (0.1, 0.6), (0.95, 0.6)]
)
def test_its_coverage_by_enumeration(left: float, right: float) -> None:
    """Score intervals cover on average, not at every point: none of these is a point below
    short."""
    episodes, others = 24, 40
    covered = 0.0
    for one, other in itertools.product(range(episodes + 1), range(others + 1)):
        lower, upper = interval(one, episodes, other, others)
        if lower <= left - right <= upper:
            covered += float(binom.pmf(one, episodes, left) * binom.pmf(other, others, right))
    assert covered > 0.935


def test_tasks_of_one_share_are_simply_pooled() -> None:
    strata = [Stratum(10, 20, 20, 40), Stratum(20, 20, 30, 40), Stratum(1, 20, 0, 40)]
    found = standardise(strata)
    assert found.left == pytest.approx(31 / 60)
    assert found.right == pytest.approx(50 / 120)
    assert (found.left_episodes, found.right_episodes) == (pytest.approx(60), pytest.approx(120))


def test_other_shares_of_the_tasks_make_no_difference_of_their_own() -> None:
    """Simpson's paradox: equal in every task, but one group played the easy task more often."""
    found = standardise([Stratum(90, 100, 9, 10), Stratum(1, 10, 10, 100)])
    assert found.left == pytest.approx(found.right)
    both = newcombe_interval(found, 0.95)
    assert both.lower < 0 < both.upper
    assert interval(91, 110, 19, 110)[0] > 0.4, "pooled it would be a large difference"


def test_coverage_with_unlike_tasks_in_unlike_shares() -> None:
    """An easy and a hard task, the hard one played twice as often on one side."""
    left, right = (0.9, 0.4), (0.8, 0.6)
    truth, covered = None, 0.0
    for one, other, third, fourth in itertools.product(range(9), range(9), range(9), range(17)):
        found = standardise([Stratum(one, 8, other, 8), Stratum(third, 8, fourth, 16)])
        if truth is None:  # the weights are those of the numbers of episodes, whatever came out
            easy = 4.0 / (4.0 + 8 * 16 / 24)
            truth = easy * (left[0] - right[0]) + (1 - easy) * (left[1] - right[1])
        both = newcombe_interval(found, 0.9)
        if both.lower <= truth <= both.upper:
            chances = binom.pmf([one, third], 8, left), binom.pmf([other, fourth], [8, 16], right)
            covered += float(np.prod(chances))
    assert covered > 0.88


def test_one_task_is_fishers_test() -> None:
    for left, right in ((3, 9), (9, 3), (0, 0), (12, 15), (5, 5)):
        expected = fisher_exact([[left, 12 - left], [right, 15 - right]], alternative="less").pvalue
        assert exact_one_sided([Stratum(left, 12, right, 15)]) == pytest.approx(expected)


def test_several_tasks_by_listing_every_outcome() -> None:
    """The chance of each way in which the successes fall to the episodes, counted one by one."""
    strata = [Stratum(1, 3, 2, 2), Stratum(2, 3, 2, 4)]
    ways: list[list[int]] = []
    for each in strata:
        episodes, solved = each.left_episodes + each.right_episodes, each.left + each.right
        falls = [
            sum(place < each.left_episodes for place in chosen)
            for chosen in itertools.combinations(range(episodes), solved)
        ]
        ways.append(falls)
    totals = np.array([one + other for one, other in itertools.product(*ways)])
    assert exact_one_sided(strata) == pytest.approx((totals <= 3).mean())


def test_it_keeps_its_level_by_enumeration() -> None:
    """Of equal groups it rejects at most as often as it says, whatever the tasks' difficulties."""
    rejected = 0.0
    for one, other, third, fourth in itertools.product(range(7), range(9), range(7), range(9)):
        if exact_one_sided([Stratum(one, 6, other, 8), Stratum(third, 6, fourth, 8)]) <= 0.05:
            chances = binom.pmf([one, other], [6, 8], 0.9), binom.pmf([third, fourth], [6, 8], 0.4)
            rejected += float(np.prod(chances))
    assert 0 < rejected <= 0.05
