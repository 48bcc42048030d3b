"""Exact McNemar tests against published numbers, scipy and brute force."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, permutation_test

from bench.judge.stats.mcnemar import cluster_flip_one_sided, mcnemar_one_sided, mcnemar_two_sided

discordant = st.integers(0, 60)


def test_published_exact_p_value() -> None:
    """Bentur et al. (2009), 1 against 7: exact conditional p = 0.070.

    M. W. Fagerland, S. Lydersen, P. Laake (2013), BMC Med. Res. Methodol. 13:91.
    """
    assert mcnemar_two_sided(1, 7) == pytest.approx(0.0703125)


@pytest.mark.parametrize(
    ("left_only", "right_only", "p"),
    [
        (121, 59, 4.4344492637551645e-06),
        (70, 59, 0.3786876626931185),
        (150, 86, 3.7159361395713866e-05),
    ],
)
def test_statsmodels_exact_mcnemar(left_only: int, right_only: int, p: float) -> None:
    """statsmodels 0.15.0: mcnemar([[a, left_only], [right_only, d]], exact=True).pvalue, whatever a
    and d are."""
    assert mcnemar_two_sided(left_only, right_only) == pytest.approx(p, rel=1e-9)


def test_rs_binomial_test() -> None:
    """R: binom.test(c(35, 28)) has p-value = 0.45; as McNemar's exact test on
    aoki2.si.gunma-u.ac.jp/lecture/Hiritu."""
    assert round(mcnemar_two_sided(35, 28), 4) == 0.45


@given(discordant, discordant)
def test_agrees_with_scipys_sign_test(left_only: int, right_only: int) -> None:
    total = left_only + right_only
    if total == 0:
        assert mcnemar_one_sided(0, 0) == mcnemar_two_sided(0, 0) == 1.0
        return
    assert mcnemar_one_sided(left_only, right_only) == pytest.approx(
        binomtest(left_only, total, alternative="greater").pvalue
    )
    assert mcnemar_two_sided(left_only, right_only) == pytest.approx(
        binomtest(left_only, total).pvalue
    )


@given(discordant, discordant)
def test_one_pair_a_cluster_is_mcnemar(left_only: int, right_only: int) -> None:
    sums = np.array([1] * left_only + [-1] * right_only + [0] * 5)
    assert cluster_flip_one_sided(sums) == pytest.approx(mcnemar_one_sided(left_only, right_only))


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=10))
def test_flipping_clusters_agrees_with_listing_every_sign(sums: list[int]) -> None:
    patterns = list(itertools.product((1, -1), repeat=len(sums)))
    reached = sum(np.dot(signs, sums) >= sum(sums) for signs in patterns)
    assert cluster_flip_one_sided(np.array(sums)) == pytest.approx(reached / len(patterns))


def test_flipping_clusters_agrees_with_scipys_permutation_test() -> None:
    sums = np.array([3, -1, 2, 2, 0, 4, -2, 1])
    expected = permutation_test(
        (sums,), np.sum, permutation_type="samples", alternative="greater", n_resamples=np.inf
    )
    assert cluster_flip_one_sided(sums) == pytest.approx(expected.pvalue)


def test_equal_repeats_are_not_evidence_four_times_over() -> None:
    """Five inits won, each with four equal repeats: as good as five wins, not as twenty."""
    assert cluster_flip_one_sided(np.array([4] * 5)) == pytest.approx(mcnemar_one_sided(5, 0))


def test_full_scale_table_takes_no_time_and_no_rounding() -> None:
    """A sum of 400 with standard deviation 51: a normal tail of about 2e-15, not zero."""
    sums = np.repeat([4, 2, 1, -1, -2], 100)
    assert 1e-16 < cluster_flip_one_sided(sums) < 1e-13
    assert cluster_flip_one_sided(-sums) == pytest.approx(1.0)
