"""Which episodes are missing, and how that is said."""

from hypothesis import given
from hypothesis import strategies as st
from synthetic_run import core_plan, rows_by_case

from bench.judge.missing import as_ranges, missing_episodes


def test_missing_episodes_of_every_rollout() -> None:
    plan = core_plan("smoke", episodes=4, arms=("E0", "E1"))
    played = {"E0-none": [True, None, "error", None], "E1-zero": [True, True, False, True]}
    assert missing_episodes(plan, rows_by_case(plan, played)) == {"E0-none-s0": [1, 3]}
    assert missing_episodes(plan, {}) == {"E0-none-s0": [0, 1, 2, 3], "E1-zero-s0": [0, 1, 2, 3]}


def test_neighbours_are_drawn_together() -> None:
    assert as_ranges([0, 1, 2, 3, 7, 9, 10]) == "0-3, 7, 9-10"
    assert as_ranges([]) == ""
    assert as_ranges(range(0, 2000, 2)) == "0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, ..., 1998"


@given(st.sets(st.integers(0, 60)))
def test_ranges_say_every_index_once(indices: set[int]) -> None:
    said: list[int] = []
    for part in filter(None, as_ranges(sorted(indices), most=99).split(", ")):
        first, _, last = part.partition("-")
        said += range(int(first), int(last or first) + 1)
    assert said == sorted(indices)
