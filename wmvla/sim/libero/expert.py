"""A scripted expert that drops an object into a basket, from privileged simulation state.

It is feedback all the way: every action is computed from where things are now, so that its action
is a correct label at a disturbed state too. Rotation actions are exactly 0.
"""

import itertools
from dataclasses import dataclass
from enum import Enum, auto

import mujoco
import numpy as np

from wmvla.errors import UserError
from wmvla.sim.libero.env import ACTION_DIM, LiberoSimulation

ACTION_METRES = 0.05
"""Position change that action 1 commands."""
GAIN = 2.0
DESCEND_SPEED = 0.7
LOWER_SPEED = 0.5
HOVER = 0.07
"""Height of the fingers above the object before they descend, m."""
CLEARANCE = 0.06
"""Height of the carried object above the basket's rim, m."""
RELEASE_DEPTH = 0.02
"""The object is let go when its bottom is this far below the rim, m."""
CLOSE_STEPS = 9
DESCEND_STEPS = 25
LIFT_STEPS = 30
"""Fingers that have not come down, or not raised the object, by then try another spot."""
SPOTS = (0.0, -0.022, 0.022)
"""Distances from the object's middle, along the fingers, at which a grasp is tried in turn, m. A
neighbour can be in the way of the hand."""
RELEASE_STEPS = 15
FINGER_LENGTH = 0.03
"""An object whose top is further below the fingertips than this is no longer held, m."""
ACROSS = 0.008
"""Sideways error at which a movement counts as arrived, m."""
OPEN_WIDTH = 0.078
"""Space between the open fingers, m."""


class Phase(Enum):
    APPROACH = auto()
    DESCEND = auto()
    CLOSE = auto()
    LIFT = auto()
    CARRY = auto()
    LOWER = auto()
    RELEASE = auto()


@dataclass(frozen=True)
class Box:
    """World-aligned bounds (3,) of a body's collision geoms, m."""

    low: np.ndarray
    high: np.ndarray

    @property
    def centre(self) -> np.ndarray:
        return (self.low + self.high) / 2


class PickAndPlace:
    """The expert of one episode: call ``action`` before every step, after ``simulation.reset``.

    UserError: the task is not *in(object, basket)*, or the object is too wide for the hand.
    """

    def __init__(self, simulation: LiberoSimulation) -> None:
        self._env = simulation.robosuite
        goals = self._env.parsed_problem["goal_state"]
        if len(goals) != 1 or goals[0][0] != "in" or not goals[0][2].endswith("_contain_region"):
            raise UserError(
                f"The scripted expert cannot play {simulation.environment.suite} task"
                f" {simulation.task} ({simulation.language}): demonstrations.source = 'expert'"
                " needs tasks of libero_object."
            )
        _, name, region = goals[0]
        self._object = self._collision_geoms(name)
        self._basket = self._collision_geoms(region.removesuffix("_contain_region"))
        self.phase = Phase.APPROACH
        self._steps_in_phase = 0
        self._failed_grasps = 0

        thing = self._bounds(self._object)
        self._across = self._closing_axis()[:2]
        width = float(np.abs(self._across) @ (thing.high - thing.low)[:2])
        if width > OPEN_WIDTH:
            raise UserError(
                f"The scripted expert cannot grasp {name} of {simulation.environment.suite} task"
                f" {simulation.task}: it is {100 * width:.1f} cm wide between the fingers, which"
                f" open {100 * OPEN_WIDTH:.1f} cm."
            )

    def action(self) -> np.ndarray:
        """The next action (7,) float32, from the present state."""
        thing, basket, hand = self._bounds(self._object), self._bounds(self._basket), self._hand()
        self._advance(thing, basket, hand)
        self._steps_in_phase += 1

        move = np.zeros(3)
        closed = self.phase in (Phase.CLOSE, Phase.LIFT, Phase.CARRY, Phase.LOWER)
        if self.phase is Phase.APPROACH:
            move = self._towards(self._grasp(thing) + np.array([0, 0, HOVER]), hand)
            # Sideways only well above the object, or the fingers knock it over.
            if hand[2] < thing.high[2] + HOVER / 2:
                move[:2] = 0
        elif self.phase is Phase.DESCEND:
            move = self._towards(self._grasp(thing), hand)
            move[2] = max(move[2], -DESCEND_SPEED)
        elif self.phase is Phase.LIFT:
            move[2] = self._towards(np.array([0, 0, basket.high[2] + CLEARANCE]), thing.low)[2]
        elif self.phase is Phase.CARRY:
            above = np.array([*basket.centre[:2], basket.high[2] + CLEARANCE])
            move = self._towards(above, np.array([*thing.centre[:2], thing.low[2]]))
        elif self.phase is Phase.LOWER:
            inside = np.array([*basket.centre[:2], basket.high[2] - RELEASE_DEPTH])
            move = self._towards(inside, np.array([*thing.centre[:2], thing.low[2]]))
            move[2] = max(move[2], -LOWER_SPEED)
        action = np.zeros(ACTION_DIM, dtype=np.float32)
        action[:3] = move
        action[6] = 1.0 if closed else -1.0
        return action

    @property
    def near_object(self) -> bool:
        """The fingers are about to close on the object, or hold it in the basket: no pushes."""
        return self.phase in (Phase.DESCEND, Phase.CLOSE, Phase.LIFT, Phase.LOWER)

    @property
    def may_be_pushed(self) -> bool:
        """Not while the fingers close or open."""
        return self.phase not in (Phase.CLOSE, Phase.RELEASE)

    def _advance(self, thing: Box, basket: Box, hand: np.ndarray) -> None:
        grasp = self._grasp(thing)
        across = np.abs(hand[:2] - grasp[:2]).max()
        off_target = np.abs(thing.centre[:2] - basket.centre[:2]).max()
        dropped = hand[2] - thing.high[2] > FINGER_LENGTH
        match self.phase:
            case Phase.APPROACH if across < ACROSS and abs(hand[2] - grasp[2] - HOVER) < 0.02:
                self._enter(Phase.DESCEND)
            case Phase.DESCEND if hand[2] - grasp[2] < 0.005 and across < ACROSS:
                self._enter(Phase.CLOSE)
            case Phase.DESCEND if self._steps_in_phase >= DESCEND_STEPS:
                self._try_another_spot()
            case Phase.CLOSE if self._steps_in_phase >= CLOSE_STEPS:
                self._enter(Phase.LIFT)
            case Phase.LIFT | Phase.CARRY | Phase.LOWER if dropped:
                self._try_another_spot()
            case Phase.LIFT if thing.low[2] > basket.high[2] + CLEARANCE / 2:
                self._enter(Phase.CARRY)
            case Phase.LIFT if self._steps_in_phase >= LIFT_STEPS:
                self._try_another_spot()
            case Phase.CARRY if off_target < 0.015:
                self._enter(Phase.LOWER)
            case Phase.LOWER if thing.low[2] < basket.high[2] - RELEASE_DEPTH / 2:
                self._enter(Phase.RELEASE)
            case Phase.RELEASE if self._steps_in_phase >= RELEASE_STEPS and off_target > 0.06:
                self._try_another_spot()

    def _try_another_spot(self) -> None:
        self._failed_grasps += 1
        self._enter(Phase.APPROACH)

    def _enter(self, phase: Phase) -> None:
        self.phase, self._steps_in_phase = phase, 0

    @staticmethod
    def _towards(goal: np.ndarray, here: np.ndarray) -> np.ndarray:
        return np.clip(GAIN * (goal - here) / ACTION_METRES, -1.0, 1.0)

    def _grasp(self, thing: Box) -> np.ndarray:
        """Where the fingertips close (3,): below the top, in the middle or at the next spot."""
        height = thing.high[2] - thing.low[2]
        z = max(thing.high[2] - min(0.03, 0.6 * height), thing.low[2] + 0.012)
        along = np.array([-self._across[1], self._across[0]])
        spot = SPOTS[self._failed_grasps % len(SPOTS)]
        return np.array([*(thing.centre[:2] + spot * along), z])

    def _hand(self) -> np.ndarray:
        return self._env.sim.data.site_xpos[self._env.robots[0].eef_site_id].copy()

    def _closing_axis(self) -> np.ndarray:
        """Direction (3,) in which the fingers close: the joint's; the hand's site is turned."""
        joint = self._env.sim.model.joint_name2id("gripper0_finger_joint1")
        return self._env.sim.data._data.xaxis[joint].copy()

    def _bounds(self, geoms: np.ndarray) -> Box:
        corners = _corners(self._env.sim.model._model, self._env.sim.data._data, geoms)
        return Box(corners.min(axis=0), corners.max(axis=0))

    def _collision_geoms(self, name: str) -> np.ndarray:
        model = self._env.sim.model._model
        roots, body = model.body_rootid, self._env.obj_body_id[name]
        of_body = roots[model.geom_bodyid] == roots[body]
        return np.flatnonzero(of_body & (model.geom_contype != 0))


_SIGNS = np.array(list(itertools.product((-1, 1), repeat=3)))


def _corners(model: mujoco.MjModel, data: mujoco.MjData, geoms: np.ndarray) -> np.ndarray:
    """World corners (8 x geoms, 3) of the geoms' own bounding boxes, m."""
    centre, half = model.geom_aabb[geoms, :3], model.geom_aabb[geoms, 3:]
    local = centre[:, None] + _SIGNS * half[:, None]
    rotation = data.geom_xmat[geoms].reshape(-1, 3, 3)
    return (data.geom_xpos[geoms, None] + local @ rotation.transpose(0, 2, 1)).reshape(-1, 3)
