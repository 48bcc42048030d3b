"""Every task of LIBERO: our resets, physics and drawing against hard resets with everything
computed and drawn, bit for bit.

Minutes per suite: ``pytest -m slow tests/wmvla/sim/libero/test_every_task.py -s`` prints a line for
each task, and which tasks keep hard resets. ``libero_90`` is sampled.
"""

import numpy as np
import pytest

from wmvla.recipe import Environment
from wmvla.sim.libero.env import LiberoSimulation
from wmvla.sim.libero.fast.cameras import ALL, NONE

STEPS = 20
SAMPLE_OF_90 = tuple(range(0, 90, 9))
TASKS = [
    *[
        (suite, task)
        for suite in ("libero_spatial", "libero_object", "libero_goal", "libero_10")
        for task in range(10)
    ],
    *[("libero_90", task) for task in SAMPLE_OF_90],
]


def actions(seed: int) -> np.ndarray:
    """Downwards and about, with the gripper closing: what an episode leaves behind is not what it
    found."""
    moves = np.random.default_rng(seed).uniform(-1, 1, size=(STEPS, 7))
    moves[:, 2] -= 0.4
    moves[STEPS // 2 :, 6] = 1.0
    return moves.clip(-1, 1)


def episode(simulation: LiberoSimulation, init: int) -> dict[str, np.ndarray]:
    """All numbers that the issue names, after settling and after 20 further steps, by what they
    are."""
    found: dict[str, np.ndarray] = {}

    def note(when: str, images: dict[str, np.ndarray]) -> None:
        sim = simulation.robosuite.sim
        arrays = {
            "qpos": sim.data.qpos,
            "qvel": sim.data.qvel,
            "body_pos": sim.model.body_pos,
            **images,
        }
        found.update({f"{name} {when}": np.array(value) for name, value in arrays.items()})

    note("settled", simulation.reset(init, 1000 + init, ALL).images)
    for number, action in enumerate(actions(init)):
        result = simulation.step(action, ALL if number == STEPS - 1 else NONE)
    note(f"after {STEPS} steps", result.observation.images)
    return found


def differences(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> list[str]:
    assert one.keys() == other.keys()
    return [name for name in one if not np.array_equal(one[name], other[name])]


@pytest.mark.slow
@pytest.mark.parametrize(("suite", "task"), TASKS, ids=lambda value: str(value))
def test_a_cheap_reset_is_the_hard_one_or_is_not_used(suite: str, task: int) -> None:
    environment = Environment(suite, (task,), image_size=64, max_steps=200)
    # One after the other: each has 300 MB of textures.
    plain = LiberoSimulation(environment, task, plain=True)
    expected = {init: episode(plain, init) for init in (3, 11)}
    plain.close()
    ours = LiberoSimulation(environment, task)
    try:
        ours.reset(0, 1000)
        print(
            f"\n{suite} {task}: resets are {'cheap' if ours.resets_are_cheap else 'HARD'}", end=""
        )
        # In another order, so that a reset follows another episode than it did before.
        for init in (11, 3, 11):
            assert differences(episode(ours, init), expected[init]) == []
    finally:
        ours.close()
