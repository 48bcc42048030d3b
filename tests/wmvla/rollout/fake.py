"""A simulator without physics, for the engine's tests: its images tell the step, its success the sum of the actions.

Faults are asked for by the row's ``init``: a file in ``folder`` remembers that one has happened, so that it happens once.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wmvla.recipe import Environment, EpisodeRow
from wmvla.rollout.episode import Answer, Query
from wmvla.sim.libero.cameras import ALL

RAISE_ONCE, DIE_ONCE, HANG_ONCE, RAISE_ALWAYS = 101, 102, 103, 104


@dataclass(frozen=True)
class Seen:
    state: np.ndarray
    images: dict[str, np.ndarray]


@dataclass(frozen=True)
class Result:
    observation: Seen
    success: bool


class FakeSimulation:
    """Succeeds when the actions' first entries add up to at least 1."""

    cameras = tuple(sorted(ALL))
    language = "do nothing"
    resets_are_cheap = True

    def __init__(self, folder: Path) -> None:
        self.folder, self.renders = folder, 0

    def reset(self, init: int, env_seed: int, want: frozenset[str]) -> Seen:
        self._fault(init)
        self.step_number, self.total, self.init = 0, 0.0, init
        return self._observe(want)

    def step(self, action: np.ndarray, want: frozenset[str]) -> Result:
        self.step_number += 1
        self.total += float(action[0])
        return Result(self._observe(want), self.total >= 1)

    def scene_hash(self) -> str:
        return f"scene-{self.init}"

    def close(self) -> None:
        pass

    def _observe(self, want: frozenset[str]) -> Seen:
        self.renders += len(want)
        images = {name: np.full((2, 2, 3), self.step_number + 100 * (name == "image2"), np.uint8) for name in want}
        return Seen(np.full(8, self.step_number, np.float32), images)

    def _fault(self, init: int) -> None:
        marker = self.folder / f"fault-{init}"
        if init == RAISE_ALWAYS:
            raise RuntimeError("the gripper fell off")
        if init in (RAISE_ONCE, DIE_ONCE, HANG_ONCE) and not marker.exists():
            marker.touch()
            if init == RAISE_ONCE:
                raise RuntimeError("once")
            if init == DIE_ONCE:
                os._exit(9)
            time.sleep(600)


def make_fake(environment: Environment, task: int) -> FakeSimulation:
    """``environment.suite`` is the folder of the fault markers."""
    return FakeSimulation(Path(environment.suite))


class CountingPolicy:
    """Answers each query with actions that depend on the row and the query alone; remembers what it was shown."""

    def __init__(self, n_action_steps: int) -> None:
        self.n_action_steps, self.queries = n_action_steps, []

    largest_batch = 1

    def act(self, queries: Sequence[Query]) -> list[Answer]:
        return [self._answer(query) for query in queries]

    def _answer(self, query: Query) -> Answer:
        self.queries.append(query)
        actions = np.zeros((self.n_action_steps, 7))
        actions[:, 0] = (query.row.noise_seed % 7) / 64
        return Answer(actions, 0.25)


def row(index: int, init: int | None = None) -> EpisodeRow:
    return EpisodeRow(index, "fake", 0, index if init is None else init, 1, 1000 + index, 0)
