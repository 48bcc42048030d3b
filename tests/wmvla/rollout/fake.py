"""A simulator without physics, for the engine's tests: its images tell the step, its success the
sum of the actions.

Faults are planned by task in a file, one for each time that the task is begun: those at making are
met there, the others at the next reset. A try of an episode is a beginning, where every row has a
task of its own.
"""

import ctypes
import dataclasses
import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from wmvla.errors import UserError
from wmvla.recipe import Environment, EpisodeRow
from wmvla.rollout.engine import roll_out
from wmvla.rollout.episode import Answer, Query
from wmvla.rollout.worker import Simulators
from wmvla.sim.libero.fast.cameras import ALL
from wmvla.sim.observation import Observation, StepResult

FAULTS = {
    "hang at make": "no sign of life for",
    "raise at make": "RuntimeError: no OpenGL context",
    "die at make": "the simulator process died (exit code 11)",
    "raise in reset": "RuntimeError: the gripper fell off",
    "raise in step": "RuntimeError: the gripper fell off",
    "kill in step": "the simulator process died (exit code -9)",
    "kill while asking": "the simulator process died (exit code -9)",
    "hang in reset": "no sign of life for",
}
"""What can be planned, and how the reason recorded for it begins."""
MISTAKE = "mistake in reset"
STUCK = "stuck in step"
"""It sleeps in C, and Python's lock stays with it."""
NOT_FINITE = "no finite state"
FAULTY_STEP = 3


class FakeSimulation:
    """Succeeds when the actions' first entries add up to at least 1. ``state`` tells its process
    and the fault planned. ``next_fault``: takes the next that is planned, of making or not."""

    cameras = tuple(sorted(ALL))
    language = "do nothing"
    resets_are_cheap = True

    def __init__(self, next_fault: Callable[[bool], str | None]) -> None:
        self.fault, self.renders = next_fault(True), 0
        self.next_fault: Callable[[bool], str | None] | None = next_fault
        if self.fault == "hang at make":
            time.sleep(600)
        if self.fault == "raise at make":
            raise RuntimeError("no OpenGL\ncontext")
        if self.fault == "die at make":
            os._exit(11)

    def reset(self, init: int, env_seed: int, want: frozenset[str]) -> Observation:
        if self.next_fault is not None:
            self.fault, self.next_fault = self.next_fault(False), None
        if self.fault == "raise in reset":
            raise RuntimeError("the gripper fell off")
        if self.fault == "hang in reset":
            time.sleep(600)
        if self.fault == MISTAKE:
            raise UserError("the fake has no such initial state")
        self.step_number, self.total, self.init = 0, 0.0, init
        return self._observe(want)

    def step(self, action: np.ndarray, want: frozenset[str]) -> StepResult:
        self.step_number += 1
        if self.step_number == FAULTY_STEP and self.fault == "raise in step":
            raise RuntimeError("the gripper fell off")
        if self.step_number == FAULTY_STEP and self.fault == "kill in step":
            os.kill(os.getpid(), signal.SIGKILL)
        while self.step_number == FAULTY_STEP and self.fault == STUCK:
            print("about to be stuck", flush=True)
            ctypes.PyDLL(None).sleep(600)
        self.total += float(action[0])
        return StepResult(self._observe(want), self.total >= 1)

    def scene_hash(self) -> str:
        return f"scene-{self.init}"

    def close(self) -> None:
        pass

    def _observe(self, want: frozenset[str]) -> Observation:
        self.renders += len(want)
        images = {
            name: np.full((2, 2, 3), self.step_number + 100 * (name == "image2"), np.uint8)
            for name in want
        }
        state = [self.step_number, os.getpid(), self.fault == "kill while asking"]
        if self.fault == NOT_FINITE and self.step_number == FAULTY_STEP:
            state[0] = np.inf
        return Observation(np.array(state, np.float64), images)


def plan_faults(folder: Path, faults: dict[int, list[str]]) -> None:
    """``faults[task]``: what happens to each try of its episode, in order; then nothing does any
    more."""
    (folder / "faults.json").write_text(json.dumps(faults))


def make_fake(environment: Environment, task: int) -> FakeSimulation:
    """``environment.suite`` is the folder of the planned faults."""
    folder = Path(environment.suite)
    plan, tries = folder / "faults.json", folder / f"tries-{task}"
    planned = json.loads(plan.read_text()).get(str(task), []) if plan.exists() else []

    def next_fault(at_make: bool) -> str | None:
        number = len(tries.read_text()) if tries.exists() else 0
        fault = planned[number] if number < len(planned) else None
        if planned and at_make == (fault is not None and fault.endswith("at make")):
            with tries.open("a") as file:
                file.write(".")
            return fault
        return None

    return FakeSimulation(next_fault)


class CountingPolicy:
    """Answers each query with actions that depend on the row and the query alone; remembers what it
    was shown."""

    def __init__(self, n_action_steps: int, largest_batch: int = 1) -> None:
        self.n_action_steps, self.largest_batch = n_action_steps, largest_batch
        self.queries: list[Query] = []
        self.batches: list[int] = []

    def act(self, queries: Sequence[Query]) -> list[Answer]:
        self.batches.append(len(queries))
        return [self._answer(query) for query in queries]

    def _answer(self, query: Query) -> Answer:
        self.queries.append(query)
        _, process, fault = query.state
        if fault:
            os.kill(int(process), signal.SIGKILL)
        actions = np.zeros((self.n_action_steps, 7))
        actions[:, 0] = (query.row.noise_seed % 7) / 64
        return Answer(actions, 0.25)


def row(index: int, task: int = 0) -> EpisodeRow:
    return EpisodeRow(index, "fake", task, index, 1, 1000 + index, 0)


def play(
    folder,
    rows,
    *,
    workers=2,
    n_action_steps=4,
    world_frames=0,
    cameras=(),
    max_steps=30,
    silence=20.0,
    policy=None,
    film=False,
    on_film=None,
    logs=None,
    built_once=True,
):
    """Records by row index, and the policy."""
    environment = Environment(suite=str(folder), tasks=(0,), image_size=2, max_steps=max_steps)
    simulators = Simulators(environment, world_frames, cameras, make_fake, film, logs, built_once)
    policy, records = policy or CountingPolicy(n_action_steps), {}

    def on_episode(episode, record):
        assert episode.index not in records, "an episode was recorded twice"
        records[episode.index] = record

    roll_out(rows, policy, simulators, workers, on_episode, silence, on_film)
    return records, policy


def without_clock(record):
    return dataclasses.replace(record, seconds=0, cpu_seconds=0)
