"""One demonstrated episode of a control scene: an expert goes where the ball arrives."""

from typing import Any

import numpy as np

from wmvla.errors import UserError
from wmvla.recipe import Demonstrations
from wmvla.sim.control.env import ControlSimulation
from wmvla.sim.control.scenes import ACTION_DIM, FRONT, PADDLE_REACH, RELEASE, STEPS
from wmvla.sim.demonstration_seeds import episode_seed


def expert_action(simulation: ControlSimulation) -> np.ndarray:
    """The expert's action (2,) float32: after the latch the same share of the way at every step."""
    if simulation.time < RELEASE:
        return np.zeros(ACTION_DIM, np.float32)
    way = simulation.scene.ball(STEPS) - simulation.paddle
    return np.clip(way / (STEPS - simulation.time) / PADDLE_REACH, -1.0, 1.0).astype(np.float32)


def record(
    simulation: ControlSimulation, demonstrations: Demonstrations, init: int
) -> dict[str, Any]:
    """The expert's episode from ``init``: ``state`` (T, 2), ``action`` (T, 2), ``attempt`` and the
    images (T, H, W, 3). UserError if pushes are asked for: these scenes have none."""
    if demonstrations.push_strength:
        raise UserError(
            f"demonstrations.push_strength is {demonstrations.push_strength:g}, but nothing pushes"
            " the paddle of a control scene: set it to 0."
        )
    observation = simulation.reset(init, episode_seed(demonstrations, 0, init))
    states, actions, images = [], [], []
    success = False
    for _ in range(STEPS):
        action = expert_action(simulation)
        states.append(observation.state)
        actions.append(action)
        images.append(observation.images[FRONT])
        result = simulation.step(action)
        observation, success = result.observation, result.success
    assert success, f"the expert missed the ball of initial state {init}"
    return {
        "state": np.stack(states),
        "action": np.stack(actions),
        "attempt": np.array(0),
        FRONT: np.stack(images),
    }
