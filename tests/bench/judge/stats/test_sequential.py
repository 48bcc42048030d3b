"""Group-sequential boundaries: published tables, and the exact flip test against every sign
pattern."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from bench.judge.stats.mcnemar import cluster_flip_one_sided
from bench.judge.stats.sequential import crossing_chances, flip_boundaries, normal_boundaries
from bench.judge.stats.spending import SPENDING

FIVE = (0.2, 0.4, 0.6, 0.8, 1.0)


@pytest.mark.parametrize(
    ("spending", "expected"),
    [
        # R, gsDesign(k = 5, test.type = 1, alpha = 0.025, sfu = sfLDOF) and sfLDPocock, whose
        # integration is good to 1e-4.
        ("obrien-fleming", (4.8769, 3.3569, 2.6803, 2.2898, 2.0310)),
        ("pocock", (2.4380, 2.4268, 2.4101, 2.3966, 2.3859)),
    ],
)
def test_published_boundaries_of_five_looks(spending: str, expected: tuple[float, ...]) -> None:
    spent = tuple(SPENDING[spending](t, 0.025) for t in FIVE)
    assert normal_boundaries(FIVE, spent) == pytest.approx(expected, abs=2e-4)


def test_the_second_boundary_by_adaptive_integration() -> None:
    """Over all values of the first look that do not cross it."""
    spent = tuple(SPENDING["obrien-fleming"](t, 0.025) for t in FIVE)
    first, second, *_ = normal_boundaries(FIVE, spent)

    def crosses_second(z: float) -> float:
        return float(norm.pdf(z) * norm.sf((second * 0.4**0.5 - z * 0.2**0.5) / 0.2**0.5))

    chance, _ = quad(crosses_second, -10, first, epsabs=1e-14, points=[0, 2, 4])
    assert chance == pytest.approx(spent[1] - spent[0], rel=1e-8)


def test_pococks_constant() -> None:
    """Equal bounds 2.413 at 5 looks cost 0.05 two-sided: S. J. Pocock (1977), Biometrika
    64:191-199, table 1."""
    assert sum(crossing_chances(FIVE, [2.413] * 5, 0.0)) == pytest.approx(0.025, abs=1e-4)


def test_obrien_and_flemings_constant() -> None:
    """Bounds 2.040 sqrt(5 / k) cost 0.05 two-sided: Jennison and Turnbull (2000), table 2.3."""
    assert sum(
        crossing_chances(FIVE, [2.040 * (5 / k) ** 0.5 for k in range(1, 6)], 0.0)
    ) == pytest.approx(0.025, abs=1e-4)


def test_one_look_is_the_fixed_test() -> None:
    assert normal_boundaries((1.0,), (0.05,)) == pytest.approx((1.6448536,), abs=1e-6)
    assert crossing_chances((1.0,), (1.6448536,), 1.6448536 + 0.8416212) == pytest.approx(
        [0.8], abs=1e-6
    )


def test_crossing_chances_by_simulation() -> None:
    fractions, bounds, drift = (0.3, 0.7, 1.0), (2.5, 2.0, 1.8), 1.5
    steps = np.diff((0.0, *fractions))
    paths = (
        np.random.default_rng(0)
        .normal(drift * steps, np.sqrt(steps), size=(200_000, 3))
        .cumsum(axis=1)
    )
    above = paths / np.sqrt(fractions) >= bounds
    first = np.where(above.any(axis=1), above.argmax(axis=1), 3)
    assert crossing_chances(fractions, bounds, drift) == pytest.approx(
        np.bincount(first)[:3] / 200_000, abs=0.004
    )


parts_strategy = st.lists(st.lists(st.integers(-3, 3), max_size=4), min_size=1, max_size=3)


@given(parts_strategy, st.sampled_from(sorted(SPENDING)), st.sampled_from([0.05, 0.2, 0.4]))
@settings(max_examples=150)
def test_no_more_is_spent_than_allowed_over_every_sign_pattern(
    parts: list[list[int]], spending: str, alpha: float
) -> None:
    """And a boundary one lower would spend too much, so nothing is given away."""
    spent = [SPENDING[spending]((look + 1) / len(parts), alpha) for look in range(len(parts))]
    (bounds,) = flip_boundaries([np.array(part, dtype=np.int64) for part in parts], [spent])
    sizes = np.abs([size for part in parts for size in part]).astype(np.int64)
    ends = np.cumsum([len(part) for part in parts])
    patterns = np.array(list(itertools.product((-1, 1), repeat=len(sizes)))).reshape(
        2 ** len(sizes), len(sizes)
    )
    totals = np.concatenate(
        [np.zeros((len(patterns), 1)), (patterns * sizes).cumsum(axis=1)], axis=1
    )[:, ends]
    crossed = np.zeros(len(patterns), dtype=bool)
    for look, bound in enumerate(bounds):
        lower = [total for total in np.unique(totals[~crossed, look]) if total < bound]
        if lower:
            assert (crossed | (totals[:, look] >= lower[-1])).mean() > spent[look]
        crossed |= totals[:, look] >= bound
        assert crossed.mean() <= spent[look] + 1e-9


def sign_patterns(parts: list[list[int]]) -> np.ndarray:
    """Totals at every look for every choice of signs, shape (patterns, looks)."""
    sizes = np.abs([size for part in parts for size in part]).astype(np.int64)
    ends = np.cumsum([len(part) for part in parts])
    patterns = np.array(list(itertools.product((-1, 1), repeat=len(sizes)))).reshape(
        2 ** len(sizes), len(sizes)
    )
    return np.concatenate(
        [np.zeros((len(patterns), 1)), (patterns * sizes).cumsum(axis=1)], axis=1
    )[:, ends]


@given(parts_strategy, st.sampled_from(sorted(SPENDING)), st.sampled_from([0.05, 0.2, 0.3]))
@settings(max_examples=150)
def test_who_is_rejected_at_a_strict_level_is_rejected_at_every_milder_one(
    parts: list[list[int]], spending: str, alpha: float
) -> None:
    """By every look, whatever the signs; and each level keeps to what it may spend."""
    levels = [
        [SPENDING[spending]((look + 1) / len(parts), alpha / left) for look in range(len(parts))]
        for left in (3, 2, 1)
    ]
    found = flip_boundaries([np.array(part, dtype=np.int64) for part in parts], levels)
    totals = sign_patterns(parts)
    crossed = [np.logical_or.accumulate(totals >= np.array(bounds), axis=1) for bounds in found]
    for strict, mild in itertools.pairwise(crossed):
        assert not (strict & ~mild).any()
    for level, by_look in zip(levels, crossed, strict=True):
        assert (by_look.mean(axis=0) <= np.array(level) + 1e-9).all()


def test_levels_by_themselves_are_not_nested() -> None:
    """Why `flip_boundaries` keeps something back: alone, a milder level spends at a look
    what it lacks at the next."""
    parts, looks = [[1], [3, 1], [3]], (0.3585, 0.5067, 1.0)
    sums, totals = [np.array(part) for part in parts], sign_patterns(parts)
    levels = [[SPENDING["pocock"](look, alpha) for look in looks] for alpha in (0.1923, 0.2137)]
    alone = [np.array(flip_boundaries(sums, [level])[0]) for level in levels]
    together = [np.array(bounds) for bounds in flip_boundaries(sums, levels)]
    for (strict, mild), lost in ((alone, True), (together, False)):
        assert ((totals >= strict).any(axis=1) & ~(totals >= mild).any(axis=1)).any() == lost


def test_boundaries_of_the_first_looks_do_not_wait_for_the_last() -> None:
    parts = [np.array([1, -2, 3, 1]), np.array([2, 2, -1, 1]), np.array([1, 1, 1, 1])]
    levels = [[0.01, 0.02, 0.05], [0.05, 0.1, 0.2]]
    whole = flip_boundaries(parts, levels)
    assert flip_boundaries(parts[:2], levels) == [bounds[:2] for bounds in whole]


@given(
    st.sampled_from(sorted(SPENDING)),
    st.floats(0.001, 0.2),
    st.floats(1, 3),
    st.floats(0.05, 0.9),
    st.floats(0.05, 1),
)
def test_a_milder_level_may_spend_more_between_any_two_looks(
    spending: str, alpha: float, times: float, first: float, more: float
) -> None:
    """What `flip_boundaries` asks of its levels."""
    second = min(first + more, 1.0)
    strict, mild = (
        SPENDING[spending](second, level) - SPENDING[spending](first, level)
        for level in (alpha / times, alpha)
    )
    assert mild >= strict - 1e-12


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=30))
def test_one_look_is_the_cluster_flip_test(sums: list[int]) -> None:
    array = np.array(sums, dtype=np.int64)
    ((bound,),) = flip_boundaries([array], [[0.05]])
    assert (array.sum() >= bound) == (cluster_flip_one_sided(array) <= 0.05)


def test_a_look_without_discordance_cannot_reject() -> None:
    assert flip_boundaries([np.zeros(20, dtype=np.int64)], [[0.05]]) == [[1]]


def test_the_signs_seen_do_not_move_the_boundaries() -> None:
    sums = [np.array([1, -2, 3, 1]), np.array([2, 2, -1, 1])]
    assert flip_boundaries(sums, [[0.1, 0.2]]) == flip_boundaries(
        [-part for part in sums], [[0.1, 0.2]]
    )
