"""The control scenes: a ball crosses a plane, and a paddle must be where it arrives.

    t = 0 ... 12   the ball moves straight on; the paddle is latched, whatever is asked of it
    t = 12 ... 24  the ball moves on as before; the paddle moves, and stands within reach of the
    ball at t = 24, or does not

A policy whose chunks are 12 actions long looks twice, at t = 0 and at t = 12. At t = 12 the ball is
in the middle, whichever way it flies: its place there is drawn independently of its direction, so
that one frame does not show where it will arrive. ``catch`` leaves it at that. ``mark`` is the same
scene with the arrival point drawn beside the plane: the future adds nothing. In ``bounce`` the ball
is slow or fast across its way, too, and bounces off walls that nobody sees: of two balls that fly
to the same side one arrives there and the other, faster one on the opposite side.

Lengths are in metres, velocities in metres a step.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from wmvla.errors import UserError

CATCH, BOUNCE, MARK = "control_catch", "control_bounce", "control_mark"
SCENES = (CATCH, BOUNCE, MARK)
"""The suites of ``Environment`` that are scenes of this module; each has one task, number 0."""
PREFIX = "control_"
FRONT = "image"
"""The only camera, from above; LeRobot's name of LIBERO's front camera."""
STATE_DIM = 2
ACTION_DIM = 2
LANGUAGE = "move the paddle to where the ball arrives"

STEPS = 24
RELEASE = 12
"""Steps for which the paddle is latched."""
FIRST_X = -0.9
SPEED_X = 0.068
LAST_X = FIRST_X + SPEED_X * STEPS
DIRECTIONS = (-0.05, 0.0, 0.05)
"""The ball's velocity across its way, each as likely; two arrive 0.6 apart."""
BOUNCING_DIRECTIONS = (-2 / 12, -1.4 / 12, -0.05, 0.05, 1.4 / 12, 2 / 12)
"""The same in ``bounce``. Each wall lies 1.4 from the other: the middle ones come back to where
they were, the fastest arrive where the slowest of the other side do."""
WALL = 0.7
"""``bounce``: the walls are at +- this across the ball's way, and not drawn."""
MIDDLE_SPREAD = 0.1
"""Where the ball is across its way at t = 12: uniform in +- this."""
PADDLE_SPREAD = 0.1
"""Where the paddle begins along the ball's way: uniform in +- this around the arrival."""
PADDLE_REACH = 0.07
"""Furthest that the paddle moves in one step along each axis."""
TOLERANCE = 0.2
"""A ball that is not further from the paddle than this at t = 24 is caught."""
NUMBER_OF_INITS = 1_000_000


@dataclass(frozen=True)
class Draw:
    """One initial state: the ball's place and velocity across at t = 12, the paddle (2,)."""

    middle: float
    direction: float
    paddle: tuple[float, float]
    bounces: bool = False

    def ball(self, t: int) -> np.ndarray:
        """Position (2,) of the ball after ``t`` steps."""
        across = self.middle + self.direction * (t - RELEASE)
        if self.bounces:
            across = WALL - abs((across + WALL) % (4 * WALL) - 2 * WALL)
        return np.array([FIRST_X + SPEED_X * t, across])

    def hash(self) -> str:
        """Of everything that was drawn."""
        values = np.array([self.middle, self.direction, *self.paddle], dtype="<f8")
        return hashlib.sha256(values.tobytes()).hexdigest()[:16]


def draw_scene(name: str, init: int, env_seed: int) -> Draw:
    """The initial state of that number under that seed, a function of these alone. UserError for a
    number out of range."""
    if not 0 <= init < NUMBER_OF_INITS:
        raise UserError(
            f"The control scenes have no initial state {init}: inits take 0 to"
            f" {NUMBER_OF_INITS - 1}."
        )
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([init, env_seed])))
    middle = generator.uniform(-MIDDLE_SPREAD, MIDDLE_SPREAD)
    directions = BOUNCING_DIRECTIONS if name == BOUNCE else DIRECTIONS
    direction = directions[generator.integers(len(directions))]
    start = LAST_X + generator.uniform(-PADDLE_SPREAD, PADDLE_SPREAD)
    return Draw(middle, direction, (start, 0.0), name == BOUNCE)
