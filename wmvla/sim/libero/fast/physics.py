"""The same physics, computed once: robosuite asks MuJoCo three times per substep for the same.

In each of the 25 substeps of a control step robosuite runs ``mj_forward``, its controller runs it
again, and ``mj_step`` a third time, all at the same positions and velocities. What depends on these
alone (kinematics, collisions, inertia, the constraints' rows, passive forces) is computed the first
time only; forces and accelerations, which the controller's torques and the solver's warm start
change, are computed every time as before. So every number stays what it was, bit for bit.
"""

import contextlib
import weakref
from collections.abc import Iterator
from typing import Any

import mujoco


class PhysicsOnce:
    """Takes the place of ``forward`` and ``step`` of one robosuite ``MjSim`` in control steps.

    Non-obvious: outside of control steps (resets, fixture placement) somebody may write into the
    model; there ``forward`` computes everything, as it always did. Inside, positions, velocities
    and mocap poses are compared with those of the last full forward.
    """

    def __init__(self, sim: Any) -> None:
        self._sim = weakref.ref(sim)
        self._model, self._data = sim.model._model, sim.data._data
        self._inside = False
        data = self._data
        arrays = (data.qpos, data.qvel, data.mocap_pos, data.mocap_quat)
        self._state = [array for array in arrays if array.size]
        self._known: list[bytes] = []
        self._integrate = {
            mujoco.mjtIntegrator.mjINT_EULER: mujoco.mj_Euler,
            mujoco.mjtIntegrator.mjINT_IMPLICIT: mujoco.mj_implicit,
            mujoco.mjtIntegrator.mjINT_IMPLICITFAST: mujoco.mj_implicit,
        }.get(self._model.opt.integrator)
        if self._integrate is not None and not mujoco.get_mjcb_control():
            sim.forward, sim.step = self._forward, self._step

    def serves(self, sim: Any) -> bool:
        """Whether this is the one of ``sim``; every hard reset brings a new ``MjSim``."""
        return self._sim() is sim

    @contextlib.contextmanager
    def control_step(self) -> Iterator[None]:
        """While the block runs, nobody but MuJoCo writes into the model."""
        self._inside, self._known = True, []
        try:
            yield
        finally:
            self._inside = False

    def _forward(self) -> None:
        state = [array.tobytes() for array in self._state] if self._inside else []
        if state and state == self._known:
            mujoco.mj_forwardSkip(self._model, self._data, mujoco.mjtStage.mjSTAGE_VEL, 0)
        else:
            mujoco.mj_forward(self._model, self._data)
        self._known = state

    def _step(self, with_udd: bool = True) -> None:
        """``mj_step`` in its parts, whose first is ``_forward``."""
        mujoco.mj_checkPos(self._model, self._data)
        mujoco.mj_checkVel(self._model, self._data)
        self._forward()
        mujoco.mj_checkAcc(self._model, self._data)
        assert self._integrate is not None
        self._integrate(self._model, self._data)
