"""Images and physics with what is left out, against everything drawn and computed, in real LIBERO
scenes that move."""

from collections.abc import Callable

import mujoco
import numpy as np
import pytest

from wmvla.sim.libero.env import LiberoSimulation
from wmvla.sim.libero.fast import physics
from wmvla.sim.libero.fast.cameras import ALL, NONE
from wmvla.sim.libero.fast.drawing import NOTHING

OpenSimulation = Callable[[str, int], LiberoSimulation]
STEPS = 12


def actions() -> np.ndarray:
    """Downwards and about, with the gripper closing: objects are touched, and some rest."""
    moves = np.random.default_rng(3).uniform(-0.4, 0.4, size=(STEPS, 7))
    moves[:, 2] -= 0.6
    moves[STEPS // 2 :, 6] = 1.0
    return moves


@pytest.mark.parametrize(
    ("suite", "task"),
    [("libero_object", 7), ("libero_goal", 7)],
    ids=["no-mirror", "stove-mirrors"],
)
def test_what_is_left_out_changes_no_pixel(
    open_simulation: OpenSimulation, suite: str, task: int
) -> None:
    simulation = open_simulation(suite, task)
    simulation.reset(4, 9)
    context = simulation.robosuite.sim._render_context_offscreen
    drawing = context.render.__self__
    lists_used = 0
    for step, action in enumerate(actions()):
        seen = simulation.step(action, ALL if step % 4 != 3 else NONE).observation.images
        if not seen:
            continue
        for camera in map(context.model.camera_name2id, ("agentview", "robot0_eye_in_hand")):
            images = []
            for draw in (drawing._draw_whole, context.render):
                draw(64, 64, camera)
                images.append(context.read_pixels(64, 64, depth=False).copy())
            np.testing.assert_array_equal(*images)
        geoms = [context.scn.geoms[index] for index in range(context.scn.ngeom)]
        meshes = [geom.dataid for geom in geoms if geom.type == mujoco.mjtGeom.mjGEOM_MESH]
        lists_used += sum(
            number == NOTHING or number >= 2 * context.model._model.nmesh for number in meshes
        )
    assert lists_used > 10 * STEPS, "most meshes lie still or are outside of the image"


def test_a_control_step_computes_positions_once_a_substep_and_gives_the_same_bits(
    open_simulation: OpenSimulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulation = open_simulation("libero_object", 7)
    ends = {}
    for way in ("once", "thrice"):
        simulation.reset(2, 5, NONE)
        if way == "thrice":
            monkeypatch.setattr(
                physics.PhysicsOnce,
                "_forward",
                lambda self: mujoco.mj_forward(self._model, self._data),
            )

            def thrice(self, with_udd=True):
                mujoco.mj_step(self._model, self._data)

            monkeypatch.setattr(physics.PhysicsOnce, "_step", thrice)
            simulation._physics = None
        for action in actions():
            simulation.step(action, NONE)
        data = simulation.robosuite.sim.data._data
        ends[way] = [
            array.copy()
            for array in (data.qpos, data.qvel, data.qacc, data.sensordata, data.qacc_warmstart)
        ]
    simulation._physics = None
    for once, thrice_ in zip(ends["once"], ends["thrice"], strict=True):
        np.testing.assert_array_equal(once, thrice_)


def test_positions_are_computed_anew_when_somebody_moves_a_joint(
    open_simulation: OpenSimulation,
) -> None:
    simulation = open_simulation("libero_object", 7)
    simulation.reset(2, 5, NONE)
    sim = simulation.robosuite.sim
    once = physics.PhysicsOnce(sim)
    with once.control_step():
        sim.forward()
        before = sim.data._data.xpos.copy()
        sim.data.qpos[0] += 0.1
        sim.forward()
        assert not np.array_equal(sim.data._data.xpos, before)
    simulation._physics = None
