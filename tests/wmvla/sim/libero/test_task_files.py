"""The files that decide LIBERO's tasks are those that LIBERO itself opens."""

from pathlib import Path

import pytest

from wmvla.sim.libero.assets import prepare_libero
from wmvla.sim.libero.task_files import task_files


@pytest.mark.parametrize(
    ("suite", "number"),
    [*((f"libero_{name}", 10) for name in ("spatial", "object", "goal", "10")), ("libero_90", 90)],
)
def test_they_are_those_that_libero_opens(suite: str, number: int) -> None:
    prepare_libero()
    from libero.libero import get_libero_path

    from wmvla.sim.libero.env import load_suite

    of_libero = load_suite(suite)
    assert of_libero.n_tasks == number
    for task in range(number):
        bddl, init = task_files(suite, [task]).values()
        assert bddl == Path(of_libero.get_task_bddl_file_path(task))
        named = of_libero.get_task(task)
        assert init == Path(
            get_libero_path("init_states"), named.problem_folder, named.init_states_file
        )
        assert bddl.is_file()
        assert init.is_file()


def test_what_libero_does_not_have_has_no_files() -> None:
    assert task_files("control_catch", [0]) == {}
    assert list(task_files("libero_object", [9, 10])) == [
        "bddl_files/libero_object/pick_up_the_orange_juice_and_place_it_in_the_basket.bddl",
        "init_files/libero_object/pick_up_the_orange_juice_and_place_it_in_the_basket.pruned_init",
    ]
