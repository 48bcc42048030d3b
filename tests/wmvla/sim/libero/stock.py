"""The stock environment, as the policy sees it through LeRobot's own code: what ours is compared
with."""

from typing import Any

import numpy as np

from wmvla.recipe import Environment
from wmvla.sim.libero.assets import prepare_libero
from wmvla.sim.libero.env import load_suite
from wmvla.sim.observation import Observation


class StockLibero:
    """``lerobot.envs.libero.LiberoEnv``, then ``preprocess_observation`` and
    ``LiberoProcessorStep``."""

    def __init__(self, environment: Environment, task: int) -> None:
        prepare_libero()
        from lerobot.envs.libero import LiberoEnv
        from lerobot.processor.env_processor import LiberoProcessorStep

        self._processor = LiberoProcessorStep()
        self._env = LiberoEnv(
            load_suite(environment.suite),
            task,
            environment.suite,
            obs_type="pixels_agent_pos",
            observation_width=environment.image_size,
            observation_height=environment.image_size,
            num_steps_wait=environment.settle_steps,
        )

    def reset(self, init: int, env_seed: int) -> Observation:
        self._env.init_state_id = init
        observation, _ = self._env.reset(seed=env_seed)
        return self._as_policy_sees(observation)

    def step(self, action: np.ndarray) -> tuple[Observation, bool]:
        observation, _, _, _, info = self._env.step(action)
        return self._as_policy_sees(observation), info["is_success"]

    def close(self) -> None:
        self._env.close()

    def _as_policy_sees(self, observation: dict[str, Any]) -> Observation:
        from lerobot.envs.utils import preprocess_observation

        seen = self._processor.observation(preprocess_observation(_batched(observation)))
        images = {
            name: (seen[f"observation.images.{name}"][0].permute(1, 2, 0).double() * 255)
            .round()
            .byte()
            .numpy()
            for name in ("image", "image2")
        }
        return Observation(seen["observation.state"][0].numpy(), images)


def _batched(observation: Any) -> Any:
    if isinstance(observation, dict):
        return {key: _batched(value) for key, value in observation.items()}
    return np.asarray(observation)[None]
