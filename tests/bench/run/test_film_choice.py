"""Which episodes are filmed."""

import pytest
from synthetic_run import core_plan, rows_by_case

from bench.run.film_choice import Films, choose, outcome, parse_episodes
from wmvla.errors import UserError

PLAN = core_plan("smoke", episodes=4)
ROWS = rows_by_case(
    PLAN,
    {
        "E0-none": [True, False, "error", False],
        "E1-zero": [True, False, False, None],
        "E2-pred": [True, True, True, True],
    },
)
E0_FAILURES = (("E0-none-s0", 1), ("E0-none-s0", 3))
E1_FAILURES = (("E1-zero-s0", 1), ("E1-zero-s0", 2))


def test_failures_are_of_every_rollout_and_broken_episodes_have_nothing_to_show() -> None:
    assert choose(PLAN, ROWS, True, False, (), 10) == Films((*E0_FAILURES, *E1_FAILURES), ())


def test_discordant_episodes_are_those_of_the_claims_that_both_sides_have_played() -> None:
    found = choose(PLAN, ROWS, False, True, (), 10)
    assert found == Films((), (("E2-pred-s0", "E0-none-s0", 1), ("E2-pred-s0", "E0-none-s0", 3)))
    assert found.episodes() == {"E0-none-s0": [1, 3], "E2-pred-s0": [1, 3]}


def test_the_limit_is_of_each_rollout_and_each_pair_and_says_what_it_left_out() -> None:
    found = choose(PLAN, ROWS, True, True, (), 1)
    assert found == Films(
        (E0_FAILURES[0], E1_FAILURES[0]), (("E2-pred-s0", "E0-none-s0", 1),), left_out=3
    )
    assert found.episodes() == {"E0-none-s0": [1], "E1-zero-s0": [1], "E2-pred-s0": [1]}


def test_chosen_episodes_are_filmed_in_every_rollout_that_played_them() -> None:
    found = choose(PLAN, ROWS, False, False, (3, 2), 10)
    assert found.single == (
        ("E0-none-s0", 3),
        ("E1-zero-s0", 2),
        ("E2-pred-s0", 2),
        ("E2-pred-s0", 3),
    )
    with pytest.raises(
        UserError,
        match=r"--episodes 4: no rollout of core-smoke-cpu-\w+ has played it \(its table has 0-3\)",
    ):
        choose(PLAN, ROWS, False, False, (0, 4), 10)


def test_episodes_are_numbers() -> None:
    assert parse_episodes("3,7") == (3, 7)
    assert parse_episodes(None) == ()
    for text in ("", "3,", "three", "1-4"):
        with pytest.raises(UserError, match="give numbers such as 3,7"):
            parse_episodes(text)


def test_outcomes_are_told() -> None:
    assert outcome({**ROWS["E2-pred-s0"][0], "steps": 112}) == "solved after 112 steps"
    assert outcome({**ROWS["E0-none-s0"][1], "steps": 200}) == "not solved after 200 steps"
