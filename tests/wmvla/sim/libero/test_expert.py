"""The scripted expert in real LIBERO."""

from collections.abc import Callable

import numpy as np
import pytest

from wmvla.errors import UserError
from wmvla.recipe import Demonstrations
from wmvla.sim.libero.env import LiberoSimulation
from wmvla.sim.libero.expert import Phase, PickAndPlace
from wmvla.sim.libero.recording import STEPS_AFTER_SUCCESS, play

OpenSimulation = Callable[[str, int], LiberoSimulation]


@pytest.mark.parametrize("push_strength", [0.0, 1.5])
def test_solves_initial_states_with_and_without_pushes(
    open_simulation: OpenSimulation, push_strength: float
) -> None:
    simulation = open_simulation("libero_object", 7)
    demonstrations = Demonstrations("local/test", "expert", push_strength=push_strength)
    for init in (20, 49):
        episode = play(simulation, demonstrations, init, attempt=0)
        assert episode is not None
        assert 90 < len(episode.labels) < 200
        assert not episode.labels[:, 3:6].any()
        assert np.abs(episode.labels).max() <= 1
        assert set(episode.labels[:, 6]) == {-1.0, 1.0}
        assert (episode.labels[-STEPS_AFTER_SUCCESS:, 6] == -1).all()
        pushed = (episode.executed != episode.labels).any(axis=1)
        assert pushed.any() == (push_strength > 0)
        assert pushed.mean() < 0.3


def test_recovers_from_a_grasp_that_slips(open_simulation: OpenSimulation) -> None:
    simulation = open_simulation("libero_object", 7)
    simulation.reset(0, 0, frozenset())
    expert = PickAndPlace(simulation)
    phases = []
    for _ in range(240):
        action = expert.action()
        if phases.count(Phase.LIFT) in range(3, 12):
            action[6] = -1.0  # The fingers open.
        phases.append(expert.phase)
        if simulation.step(action, frozenset()).success:
            break
    else:
        pytest.fail("the object was not picked up again")
    assert Phase.APPROACH in phases[phases.index(Phase.LIFT) :]


def test_refuses_tasks_that_are_not_pick_and_place(open_simulation: OpenSimulation) -> None:
    simulation = open_simulation("libero_goal", 7)
    simulation.reset(0, 0, frozenset())
    with pytest.raises(UserError, match=r"cannot play libero_goal task 7 \(turn on the stove\)"):
        PickAndPlace(simulation)
