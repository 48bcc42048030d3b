"""One demonstrated episode: the expert plays and is pushed; a success is played again and drawn.

The expert's own action is the label at every step, also while it is pushed, so that the data shows
how to come back.

Non-obvious: an episode is played twice. Physics costs 7 ms a step and the two images 90 ms, so
images are drawn only when the attempt is known to have succeeded. Playing the same actions again
gives the same states, bit for bit.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from wmvla.errors import UserError
from wmvla.recipe import Demonstrations
from wmvla.sim.demonstration_seeds import episode_seed
from wmvla.sim.libero.env import LiberoSimulation
from wmvla.sim.libero.expert import PickAndPlace
from wmvla.sim.libero.fast.cameras import ALL, NONE

ATTEMPTS = 8
"""Sets of pushes tried for one initial state before giving up."""
STEP_LIMIT = 240
"""Control steps the expert gets; it needs 100 to 150."""
STEPS_AFTER_SUCCESS = 10
"""Recorded past the first success, so that letting go and staying is shown too."""
PUSH_STEPS = 4
CLEAN_STEPS_BETWEEN_PUSHES = 12
PUSH_PROBABILITY = 0.15
"""Chance, at each step at which one may begin, that a push begins."""


@dataclass(frozen=True)
class Episode:
    """``states`` (T, 8) float32 before each action; ``labels`` (T, 7) float32, the expert's
    actions; ``executed`` (T, 7) float32, the actions played, pushes included."""

    states: np.ndarray
    labels: np.ndarray
    executed: np.ndarray


class Pushes:
    """Random pushes of the hand: each adds one vector to ``PUSH_STEPS`` position actions."""

    def __init__(self, strength: float, generator: np.random.Generator) -> None:
        self._strength = strength
        self._generator = generator
        self._push = np.zeros(3)
        self._steps_left = 0
        self._clean_steps = 0

    def push(self, *, may_begin: bool) -> np.ndarray:
        """What is added to the next action's position (3,)."""
        if self._steps_left == 0:
            self._clean_steps += 1
            if not may_begin or self._clean_steps <= CLEAN_STEPS_BETWEEN_PUSHES:
                return np.zeros(3)
            if self._generator.random() >= PUSH_PROBABILITY:
                return np.zeros(3)
            direction = self._generator.normal(size=3)
            strength = self._strength * self._generator.uniform(0.5, 1.0)
            self._push = strength * direction / np.linalg.norm(direction)
            self._steps_left, self._clean_steps = PUSH_STEPS, 0
        self._steps_left -= 1
        return self._push


def record(
    simulation: LiberoSimulation, demonstrations: Demonstrations, init: int
) -> dict[str, Any]:
    """The first episode from ``init`` that the expert solves: ``state``, ``action`` (its own),
    ``attempt``, images by camera. UserError: no attempt succeeds."""
    attempts = ATTEMPTS if demonstrations.push_strength > 0 else 1
    for attempt in range(attempts):
        episode = play(simulation, demonstrations, init, attempt)
        if episode is not None:
            seed = episode_seed(demonstrations, simulation.task, init)
            arrays = {"state": episode.states, "action": episode.labels}
            frames = draw(simulation, seed, init, episode)
            return {**arrays, "attempt": np.array(attempt), **frames}
    raise UserError(
        f"The expert did not solve {simulation.environment.suite} task {simulation.task} from"
        f" initial state {init} in {attempts} attempts: leave it out of demonstrations.inits."
    )


def play(
    simulation: LiberoSimulation, demonstrations: Demonstrations, init: int, attempt: int
) -> Episode | None:
    """The expert's episode from ``init`` with the pushes of ``attempt``; None for a failure."""
    task = simulation.task
    observation = simulation.reset(init, episode_seed(demonstrations, task, init), NONE)
    expert = PickAndPlace(simulation)
    generator = np.random.default_rng([demonstrations.seed, task, init, attempt])
    pushes = Pushes(demonstrations.push_strength, generator)
    states, labels, executed = [], [], []
    steps_to_go: int | None = None
    for _ in range(STEP_LIMIT):
        label = expert.action()
        action = label.copy()
        push = pushes.push(may_begin=expert.may_be_pushed and steps_to_go is None)
        action[:3] += push * (0.5 if expert.near_object else 1.0)
        states.append(observation.state)
        labels.append(label)
        executed.append(action)
        result = simulation.step(action, NONE)
        observation = result.observation
        if steps_to_go == 0:
            return Episode(np.stack(states), np.stack(labels), np.stack(executed))
        if steps_to_go is not None:
            steps_to_go -= 1
        elif result.success:
            steps_to_go = STEPS_AFTER_SUCCESS - 1
    return None


def draw(
    simulation: LiberoSimulation, env_seed: int, init: int, episode: Episode
) -> dict[str, np.ndarray]:
    """Images (T, H, W, 3) uint8 of the episode's states, per camera."""
    frames: dict[str, list[np.ndarray]] = {name: [] for name in simulation.cameras}
    observation = simulation.reset(init, env_seed, ALL)
    last = len(episode.executed) - 1
    for step, action in enumerate(episode.executed):
        same = np.array_equal(observation.state, episode.states[step])
        assert same, "the same actions took another course"
        for name, images in frames.items():
            images.append(observation.images[name])
        observation = simulation.step(action, NONE if step == last else ALL).observation
    return {name: np.stack(images) for name, images in frames.items()}
