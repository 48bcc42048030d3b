"""Rollouts without LIBERO and without a checkpoint, for ``wmbench run`` in any process.

Success is known from mode and noise seed. A control step takes ``FAKE_STEP_SECONDS``.
"""

import os
import sys
import time
import types
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from synthetic_run import PROVENANCE

from bench.host import hardware
from wmvla.recipe import Environment
from wmvla.rollout.episode import Answer, Query
from wmvla.sim import suites

if TYPE_CHECKING:
    import pytest

CAMERAS = ("image", "image2")


class FakeSimulation:
    """Succeeds when the actions' first entries add up to at least 1; its images tell the step."""

    cameras = CAMERAS
    language = "do nothing"
    resets_are_cheap = True

    def __init__(self) -> None:
        self.renders = 0

    def reset(self, init: int, env_seed: int, want: frozenset[str]) -> types.SimpleNamespace:
        self.step_number, self.total, self.init = 0, 0.0, init
        return self._observe(want)

    def step(self, action: np.ndarray, want: frozenset[str]) -> types.SimpleNamespace:
        time.sleep(float(os.environ.get("FAKE_STEP_SECONDS", "0")))
        self.step_number += 1
        self.total += float(action[0])
        return types.SimpleNamespace(observation=self._observe(want), success=self.total >= 1)

    def scene_hash(self) -> str:
        return f"{self.init:064x}"

    def close(self) -> None:
        pass

    def _observe(self, want: frozenset[str]) -> types.SimpleNamespace:
        self.renders += len(want)
        images = {name: np.full((16, 16, 3), 8 * self.step_number, np.uint8) for name in want}
        return types.SimpleNamespace(state=np.zeros(8, np.float32), images=images)


def make(environment: Environment, task: int) -> FakeSimulation:
    return FakeSimulation()


def succeeds(mode: str, noise_seed: int) -> bool:
    return noise_seed % (2 if mode == "none" else 3) > 0


class FakePolicy:
    """In place of ``RolloutPolicy``."""

    world_frames, world_cameras = 0, ()

    def __init__(
        self,
        checkpoint: Path,
        mode: str,
        n_action_steps: int,
        device: str,
        largest_batch: int | None = None,
    ) -> None:
        self.mode, self.n_action_steps, self.largest_batch = (
            mode,
            n_action_steps,
            largest_batch or 64,
        )

    def act(self, queries: Sequence[Query]) -> list[Answer]:
        return [self._answer(query) for query in queries]

    def _answer(self, query: Query) -> Answer:
        gain = 0.3 if succeeds(self.mode, query.row.noise_seed) else 0.0
        return Answer(np.full((self.n_action_steps, 7), gain), 0.001)


def install(patch: "pytest.MonkeyPatch | None" = None) -> None:
    """Take the place of the policy, whose module would load LeRobot, of the simulator, and of what
    draws; until `patch` is undone, or for as long as this process lives."""
    module = types.ModuleType("wmvla.rollout.policy")
    module.RolloutPolicy = FakePolicy  # type: ignore[attr-defined]
    put = setattr if patch is None else patch.setattr
    put(hardware, "gl_renderer", lambda: PROVENANCE["gl_renderer"])
    put(suites, "make_simulation", make)
    if patch is None:
        sys.modules["wmvla.rollout.policy"] = module
    else:
        patch.setitem(sys.modules, "wmvla.rollout.policy", module)
