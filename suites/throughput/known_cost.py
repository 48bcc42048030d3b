"""A simulator whose steps cost a known time, in a module that every simulator process imports."""

import time

import numpy as np

from wmvla.recipe import Environment
from wmvla.sim.observation import Observation, StepResult

STEP_SECONDS = 0.01
SIZE = 128


class Free:
    """Every step takes ``seconds`` of waiting, so that a busy neighbour does not lengthen it."""

    cameras = ("image", "image2")
    language = "do nothing"
    resets_are_cheap = True
    renders = 0
    seconds = 0.0
    image = np.zeros((SIZE, SIZE, 3), np.uint8)

    def __init__(self, environment: Environment, task: int) -> None: ...

    def reset(self, init: int, env_seed: int, want: frozenset[str]) -> Observation:
        return Observation(np.zeros(8, np.float32), dict.fromkeys(want, self.image))

    def step(self, action: np.ndarray, want: frozenset[str]) -> StepResult:
        if self.seconds:
            time.sleep(self.seconds)
        return StepResult(self.reset(0, 0, want), False)

    def scene_hash(self) -> str:
        return "scene"

    def close(self) -> None: ...


class Slow(Free):
    seconds = STEP_SECONDS
