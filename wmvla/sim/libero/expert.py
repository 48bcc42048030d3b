"""A scripted expert that picks an object up and drops it into a basket, from privileged simulation state.

It is feedback all the way: every action is computed from where things are now, so that it recovers from pushes and
its action is a correct label at a disturbed state too. Rotation actions are exactly 0.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

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
LIFT_STEPS = 30
"""A grasp that has not raised the object after so many steps has failed and is tried again."""
RELEASE_STEPS = 15
ACROSS = 0.008
"""Sideways error at which a movement counts as arrived, m."""
LARGEST_WIDTH = 0.075
"""The open gripper spans 8 cm."""


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
    """The expert of one episode: call ``action`` once before every step, after ``simulation.reset``.

    Raises ``UserError`` when the task is not of the form *in(object, basket)* or the object is too wide to be
    grasped without turning the hand.
    """

    def __init__(self, simulation: LiberoSimulation) -> None:
        self._env = simulation.robosuite
        goals = self._env.parsed_problem["goal_state"]
        if len(goals) != 1 or goals[0][0] != "in" or not goals[0][2].endswith("_contain_region"):
            raise UserError(
                f"The scripted expert cannot play {simulation.environment.suite} task {simulation.task} "
                f"({simulation.language}): demonstrations.source = 'expert' needs tasks of libero_object."
            )
        _, self._object, region = goals[0]
        self._target = region.removesuffix("_contain_region")
        self.phase = Phase.APPROACH
        self._steps_in_phase = 0

    def action(self) -> np.ndarray:
        """The next action (7,) float32, from the present state."""
        thing, basket, hand = self._bounds(self._object), self._bounds(self._target), self._hand()
        self._advance(thing, basket, hand)
        self._steps_in_phase += 1

        move = np.zeros(3)
        closed = self.phase in (Phase.CLOSE, Phase.LIFT, Phase.CARRY, Phase.LOWER)
        if self.phase is Phase.APPROACH:
            move = self._towards(self._grasp(thing) + [0, 0, HOVER], hand)
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
        """The fingers are about to close on the object or hold it in the basket: a strong push would spoil that."""
        return self.phase in (Phase.DESCEND, Phase.CLOSE, Phase.LIFT, Phase.LOWER)

    @property
    def may_be_pushed(self) -> bool:
        """Not while the fingers close or open."""
        return self.phase not in (Phase.CLOSE, Phase.RELEASE)

    def _advance(self, thing: Box, basket: Box, hand: np.ndarray) -> None:
        grasp = self._grasp(thing)
        across = np.abs(hand[:2] - grasp[:2]).max()
        over_target = np.abs(thing.centre[:2] - basket.centre[:2]).max()
        held = thing.high[2] > hand[2] - 0.03
        if self.phase is Phase.APPROACH and across < ACROSS and abs(hand[2] - grasp[2] - HOVER) < 0.02:
            self._enter(Phase.DESCEND)
        elif self.phase is Phase.DESCEND and hand[2] - grasp[2] < 0.005 and across < ACROSS:
            self._enter(Phase.CLOSE)
        elif self.phase is Phase.CLOSE and self._steps_in_phase >= CLOSE_STEPS:
            self._enter(Phase.LIFT)
        elif self.phase in (Phase.LIFT, Phase.CARRY, Phase.LOWER) and (
            hand[2] - thing.centre[2] > (thing.high[2] - thing.low[2]) / 2 + 0.04 or not held
        ):
            self._enter(Phase.APPROACH)
        elif self.phase is Phase.LIFT and thing.low[2] > basket.high[2] + CLEARANCE / 2:
            self._enter(Phase.CARRY)
        elif self.phase is Phase.LIFT and self._steps_in_phase >= LIFT_STEPS:
            self._enter(Phase.APPROACH)
        elif self.phase is Phase.CARRY and over_target < 0.015:
            self._enter(Phase.LOWER)
        elif self.phase is Phase.LOWER and thing.low[2] < basket.high[2] - RELEASE_DEPTH / 2:
            self._enter(Phase.RELEASE)
        elif self.phase is Phase.RELEASE and self._steps_in_phase >= RELEASE_STEPS and over_target > 0.06:
            self._enter(Phase.APPROACH)

    def _enter(self, phase: Phase) -> None:
        self.phase, self._steps_in_phase = phase, 0

    @staticmethod
    def _towards(goal: np.ndarray, here: np.ndarray) -> np.ndarray:
        return np.clip(GAIN * (goal - here) / ACTION_METRES, -1.0, 1.0)

    @staticmethod
    def _grasp(thing: Box) -> np.ndarray:
        """Where the fingertips close: the middle of the object, a little below its top."""
        height = thing.high[2] - thing.low[2]
        z = max(thing.high[2] - min(0.03, 0.6 * height), thing.low[2] + 0.012)
        return np.array([*thing.centre[:2], z])

    def _hand(self) -> np.ndarray:
        return self._env.sim.data.site_xpos[self._env.robots[0].eef_site_id].copy()

    def _bounds(self, name: str) -> Box:
        model, data = self._env.sim.model._model, self._env.sim.data._data
        corners = [_corners(model, data, geom) for geom in self._geoms(model, name)]
        points = np.concatenate(corners)
        return Box(points.min(axis=0), points.max(axis=0))

    def _geoms(self, model: Any, name: str) -> list[int]:
        root = model.body_rootid[self._env.obj_body_id[name]]
        return [
            g
            for g in range(model.ngeom)
            if model.body_rootid[model.geom_bodyid[g]] == root and model.geom_contype[g]
        ]


def _corners(model: mujoco.MjModel, data: mujoco.MjData, geom: int) -> np.ndarray:
    """World corners (8, 3) of the geom's own bounding box."""
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    centre, half = model.geom_aabb[geom, :3], model.geom_aabb[geom, 3:]
    return data.geom_xpos[geom] + (centre + signs * half) @ data.geom_xmat[geom].reshape(3, 3).T
