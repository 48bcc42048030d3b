"""A control scene as the policy plays it: LIBERO's interface at a thousandth of the cost."""

import numpy as np

from wmvla.errors import UserError
from wmvla.recipe import Environment
from wmvla.sim.control.drawing import Drawing
from wmvla.sim.control.scenes import (
    ACTION_DIM,
    FRONT,
    LANGUAGE,
    MARK,
    PADDLE_REACH,
    RELEASE,
    SCENES,
    STEPS,
    TOLERANCE,
    Draw,
    draw_scene,
)
from wmvla.sim.observation import Observation, StepResult
from wmvla.watch.phase import phase

ALL = frozenset({FRONT})


class ControlSimulation:
    """Task 0 of the scene ``environment.suite``.

    Its states (2,) are the paddle's position along and across the ball's way (m), its actions (2,)
    the paddle's move in each direction, in [-1, 1] of 7 cm; while the paddle is latched they move
    nothing. ``success`` is given at the last step alone.

    Raises ``UserError`` for an unknown scene or task, and for an episode that would end before the
    ball arrives.
    """

    cameras = (FRONT,)
    language = LANGUAGE
    resets_are_cheap = True

    def __init__(self, environment: Environment, task: int) -> None:
        if environment.suite not in SCENES:
            raise UserError(
                f"There is no control scene {environment.suite!r}: environment.suite takes"
                f" {', '.join(SCENES)}."
            )
        if task != 0:
            raise UserError(f"{environment.suite} has no task {task}: environment.tasks takes 0.")
        if environment.max_steps != STEPS:
            raise UserError(
                f"environment.max_steps is {environment.max_steps}: in {environment.suite} the ball"
                f" arrives after {STEPS}."
            )
        self._name = environment.suite
        self._drawing = Drawing(environment.image_size)
        self.renders = 0

    def reset(self, init: int, env_seed: int, want: frozenset[str] = ALL) -> Observation:
        """Start an episode from initial state ``init`` as ``env_seed`` draws it."""
        self.scene: Draw = draw_scene(self._name, init, env_seed)
        self.time = 0
        self.paddle = np.array(self.scene.paddle)
        return self._observation(want)

    def step(self, action: np.ndarray, want: frozenset[str] = ALL) -> StepResult:
        """Play ``action`` (2,). After the last step the episode is over."""
        assert action.shape == (ACTION_DIM,), action.shape
        assert want <= ALL, want
        assert self.time < STEPS, "the ball has arrived"
        if self.time >= RELEASE:
            self.paddle = self.paddle + PADDLE_REACH * np.clip(action.astype(np.float64), -1.0, 1.0)
        self.time += 1
        caught = self.time == STEPS and self.distance() <= TOLERANCE
        return StepResult(self._observation(want), caught)

    def distance(self) -> float:
        """From the paddle to where the ball arrives, m."""
        return float(np.linalg.norm(self.paddle - self.scene.ball(STEPS)))

    def scene_hash(self) -> str:
        """Hash of everything that the reset has drawn."""
        return self.scene.hash()

    def close(self) -> None:
        """Free the renderer."""
        self._drawing.close()

    def _observation(self, want: frozenset[str]) -> Observation:
        images = {}
        if FRONT in want:
            self.renders += 1
            mark = float(self.scene.ball(STEPS)[1]) if self._name == MARK else None
            with phase("render"):
                images[FRONT] = self._drawing.draw(self.scene.ball(self.time), self.paddle, mark)
        return Observation(self.paddle.astype(np.float32), images)
