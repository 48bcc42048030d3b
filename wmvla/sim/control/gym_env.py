"""A control scene as a gymnasium environment, for stock ``lerobot-eval`` and others."""

from typing import Any

import gymnasium
import numpy as np

from wmvla.recipe import Environment
from wmvla.sim.control.env import ALL, ControlSimulation
from wmvla.sim.control.scenes import ACTION_DIM, FRONT, NUMBER_OF_INITS, STATE_DIM, STEPS
from wmvla.sim.observation import Observation


class ControlEnv(gymnasium.Env):
    """Scene ``scene`` (one of ``scenes.SCENES``), seen at ``image_size`` x ``image_size`` pixels.

    Observations and ``info["is_success"]`` are named as LeRobot's own environments name them. The
    reward is 1 at the step that succeeds, the last one. ``reset(seed=...)`` draws the initial
    state's number from gymnasium's own generator.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012  gymnasium's own interface

    def __init__(self, scene: str, image_size: int, render_mode: str = "rgb_array") -> None:
        self.render_mode = render_mode
        self._simulation = ControlSimulation(Environment(scene, (0,), image_size, STEPS), 0)
        self.task = self.task_description = self._simulation.language
        self._image = np.zeros((image_size, image_size, 3), np.uint8)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (ACTION_DIM,), np.float32)
        self.observation_space = gymnasium.spaces.Dict(
            {
                "pixels": gymnasium.spaces.Dict(
                    {FRONT: gymnasium.spaces.Box(0, 255, self._image.shape, np.uint8)}
                ),
                "agent_pos": gymnasium.spaces.Box(-2.0, 2.0, (STATE_DIM,), np.float32),
            }
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        super().reset(seed=seed)
        observation = self._simulation.reset(int(self.np_random.integers(NUMBER_OF_INITS)), 0, ALL)
        return self._seen(observation), {"is_success": False}

    def step(self, action: np.ndarray) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        result = self._simulation.step(np.asarray(action), ALL)
        over = self._simulation.time == STEPS
        info, success = {"is_success": result.success}, float(result.success)
        return self._seen(result.observation), success, over, False, info

    def render(self) -> np.ndarray:
        """The policy's own image (H, W, 3) uint8."""
        return self._image

    def close(self) -> None:
        self._simulation.close()

    def _seen(self, observation: Observation) -> dict[str, Any]:
        self._image = observation.images[FRONT]
        return {"pixels": {FRONT: self._image}, "agent_pos": observation.state}
