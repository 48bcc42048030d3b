"""Steps to success: the censored paired test against its published scores, scipy, brute force, and
a known truth."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, permutation_test, rankdata, wilcoxon

from bench.judge.stats import steps
from bench.judge.stats.mcnemar import mcnemar_two_sided
from bench.judge.stats.steps import StepsContrast, compare_steps, flip_two_sided

MOST = 200


def compare(left: list[int], right: list[int], clusters: list[int] | None = None) -> StepsContrast:
    """Episodes of `MOST` steps have failed."""
    one, other = np.array(left), np.array(right)
    labels = np.arange(len(one)) if clusters is None else np.array(clusters)
    found = compare_steps(one, other, one < MOST, other < MOST, labels, MOST)
    assert found is not None
    return found


def prentice_scores(ended: np.ndarray) -> np.ndarray:
    """Prentice's (1978) generalised Wilcoxon scores, as O'Brien and Fleming (1987) have them,
    without ties of successes.

    S(t) is the product over success times of n_j / (n_j + 1), n_j at risk; a success scores 1 - 2
    S(t), a failure 1 - S(t).
    """
    times = np.sort(ended[ended < MOST])
    survival = {
        t: np.prod([(r := (ended >= s).sum()) / (r + 1) for s in times[times <= t]]) for t in times
    }
    last = min(survival.values(), default=1.0)
    return np.array([1 - 2 * survival[step] if step < MOST else 1 - last for step in ended])


@given(st.lists(st.integers(1, 399), min_size=2, max_size=40, unique=True))
def test_mid_ranks_are_prentices_scores(draws: list[int]) -> None:
    """Up to a factor and a constant, which a difference and a sign flip do not see; half of the
    draws are failures."""
    ended = np.minimum(np.array(draws), MOST)
    assert prentice_scores(ended) == pytest.approx(2 * rankdata(ended) / (len(ended) + 1) - 1)


@given(
    st.lists(st.integers(1, 399), min_size=4, max_size=12, unique=True).filter(
        lambda draws: len(draws) % 2 == 0
    ),
    st.data(),
)
def test_the_whole_test_from_the_published_scores(draws: list[int], data: st.DataObject) -> None:
    """Prentice's scores of the pooled sample, their differences summed by cluster, every exchange
    of names listed."""
    ended = np.minimum(np.array(draws), MOST)
    pairs = len(ended) // 2
    clusters = data.draw(st.lists(st.integers(0, 4), min_size=pairs, max_size=pairs))
    scores = prentice_scores(ended)
    sums = np.bincount(clusters, weights=scores[pairs:] - scores[:pairs])
    totals = np.abs([np.dot(signs, sums) for signs in itertools.product((1, -1), repeat=len(sums))])
    found = compare(list(ended[:pairs]), list(ended[pairs:]), clusters)
    assert found.exact
    assert found.p == pytest.approx((totals >= abs(sums.sum()) - 1e-9).mean())


@given(st.lists(st.integers(-30, 30), min_size=1, max_size=10))
def test_flipping_agrees_with_listing_every_sign(sums: list[int]) -> None:
    totals = [abs(np.dot(signs, sums)) for signs in itertools.product((1, -1), repeat=len(sums))]
    found, exact = flip_two_sided(np.array(sums))
    assert exact
    assert found == pytest.approx(np.mean([total >= abs(sum(sums)) for total in totals]))


def test_agrees_with_scipys_permutation_test() -> None:
    """On pooled ranks: scipy's independent enumeration of all exchanges of names within pairs."""
    left, right = [101, 130, 95, 200, 120, 88, 140, 200], [110, 200, 99, 200, 180, 91, 139, 170]
    ranks = rankdata(left + right)

    def difference(one: np.ndarray, other: np.ndarray, axis: int) -> np.ndarray:
        return (other - one).sum(axis=axis)

    expected = permutation_test(
        (ranks[:8], ranks[8:]),
        difference,
        permutation_type="samples",
        alternative="two-sided",
        n_resamples=np.inf,
    )
    assert compare(left, right).p == pytest.approx(expected.pvalue)


def test_signed_ranks_agree_with_scipys_wilcoxon() -> None:
    """The counting itself: flipping 1..n is Wilcoxon's signed-rank test, whose exact p scipy
    knows."""
    differences = np.array([1, 2, -3, 4, 5, 6, -7, 8, 9, 10])
    assert flip_two_sided(differences)[0] == pytest.approx(
        wilcoxon(differences, method="exact").pvalue
    )


def test_where_all_successes_are_as_fast_it_is_mcnemar() -> None:
    left, right = [100] * 9 + [200] * 3, [200] * 7 + [100] * 4 + [200]
    found = compare(left, right)
    assert (found.quicker, found.slower, found.alike) == (7, 2, 3)
    assert found.p == pytest.approx(mcnemar_two_sided(7, 2))


def test_means_put_failures_at_the_end() -> None:
    found = compare([100, 200, 150], [120, 180, 200])
    assert (found.left_mean, found.right_mean) == (pytest.approx(150.0), pytest.approx(500 / 3))
    assert (found.quicker, found.slower, found.alike) == (2, 1, 0)


def test_when_a_failure_ended_does_not_matter() -> None:
    """An episode that an error ended after 3 steps is no quick one."""
    left, right = np.array([3, 120]), np.array([100, 130])
    found = compare_steps(
        left, right, np.array([False, True]), np.array([True, True]), np.arange(2), MOST
    )
    assert found is not None
    assert (found.quicker, found.slower, found.left_mean) == (1, 1, 160.0)


def test_equal_repeats_are_not_evidence_four_times_over() -> None:
    left, right = [100 + i for i in range(6)], [150 + i for i in range(6)]
    assert (
        compare(left * 4, right * 4, list(range(6)) * 4).p
        == pytest.approx(compare(left, right).p)
        == 2 / 2**6
    )


def test_many_clusters_are_normal_and_agree_with_the_count() -> None:
    sums = np.random.Generator(np.random.PCG64(3)).integers(-60, 64, 500)
    z = np.abs(sums.sum()) / np.sqrt((sums.astype(float) ** 2).sum())
    counted, exact = flip_two_sided(sums)
    assert exact
    assert counted == pytest.approx(2 * norm.sf(z), rel=0.03)
    approximated, exact = flip_two_sided(np.tile(sums, 40))
    assert not exact
    assert approximated == pytest.approx(2 * norm.sf(z * np.sqrt(40)))


@pytest.mark.parametrize("seed", range(4))
def test_large_sums_of_few_clusters_are_counted_in_coarser_units(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """24 clusters of hundreds of repeats: too few for a normal tail, too large to count one by
    one."""
    sums = np.random.Generator(np.random.PCG64(seed)).integers(-3000, 7000, 24)
    exactly, exact = flip_two_sided(sums)
    assert exact
    monkeypatch.setattr(steps, "COUNTING_WORK", 100_000)
    coarsely, exact = flip_two_sided(sums)
    assert not exact
    assert coarsely == pytest.approx(exactly, rel=0.05)


def test_without_pairs_there_is_nothing() -> None:
    none = np.zeros(0, dtype=np.int64)
    assert compare_steps(none, none, none.astype(bool), none.astype(bool), none, MOST) is None


def test_false_alarms_are_at_most_alpha() -> None:
    """Under exchangeable arms with 40 % failures, over 400 made-up samples of 30 pairs."""
    draws = np.random.Generator(np.random.PCG64(5))
    hits = 0
    for _ in range(400):
        both = np.minimum(draws.integers(80, 280, (2, 30)) + draws.integers(-30, 30, 30), MOST)
        hits += compare(list(both[0]), list(both[1])).p <= 0.05
    assert hits <= 0.05 * 400 + 2.6 * np.sqrt(400 * 0.05 * 0.95)
