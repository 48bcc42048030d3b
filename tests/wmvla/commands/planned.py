"""A simulator without physics whose outcomes are planned; in a module of its own, for every
simulator process imports it."""

import numpy as np

from wmvla.recipe import Environment
from wmvla.sim.observation import Observation, StepResult

LOST, BROKEN = 1, 2
"""Initial states from which no episode succeeds, and from which none can be played."""


class PlannedSimulation:
    """Every other episode succeeds at its second step."""

    cameras = ("image", "image2")
    language = "do nothing"
    resets_are_cheap = True

    def __init__(self, size: int) -> None:
        self.size, self.renders, self.number = size, 0, 0

    def reset(self, init: int, env_seed: int, want: frozenset[str]) -> Observation:
        if init == BROKEN:
            raise RuntimeError("the gripper fell off")
        self.number, self.init = 0, init
        return self._seen(want)

    def step(self, action: np.ndarray, want: frozenset[str]) -> StepResult:
        self.number += 1
        return StepResult(self._seen(want), self.number == 2 and self.init != LOST)

    def scene_hash(self) -> str:
        return f"scene-{self.init}"

    def close(self) -> None:
        pass

    def _seen(self, want: frozenset[str]) -> Observation:
        images = {
            name: np.full((self.size, self.size, 3), 10 * self.number, np.uint8) for name in want
        }
        return Observation(np.zeros(8, np.float32), images)


def make_planned(environment: Environment, task: int) -> PlannedSimulation:
    return PlannedSimulation(environment.image_size)
