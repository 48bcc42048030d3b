"""Resets that cost 0.4 CPU seconds instead of 2.4, if they are proven to give the same episode.

A hard reset parses the scene and builds the renderer again. A cheap reset keeps both: it puts every
number of the model back to what parsing gave, empties the simulation data, and lets robosuite draw
the scene again.

Non-obvious: robosuite's own soft reset keeps the gripper's last command
(``gripper.current_action``), which moves the state by 2e-3, keeps whatever an episode wrote into
the model (site colours, fixture poses), and starts the constraint solver from zero where a hard
reset has run it twice already (3e-16 in the positions after settling, more later). All three are
fixed here. LIBERO appends the samplers of open drawers and lit stoves to one list at *every* hard
reset, and each sampler draws from ``np.random``, so in the stock environment fixture poses depend
on how many resets went before. Here every reset has as many as the first one of a fresh
``lerobot.envs.libero.LiberoEnv``.
"""

from typing import Any

import mujoco
import numpy as np
from robosuite.utils.errors import RandomizationError

from wmvla.sim.libero.fast.cameras import make_current

PLACEMENT_ATTEMPTS = 100
"""Random placements of the objects that a reset tries; the initial state overwrites them anyway."""

LOADS_BEFORE_FIRST_RESET = 3
"""Scene loads of a fresh ``LiberoEnv``: constructor, its own reset, the caller's reset."""

FORWARDS_WHEN_BUILT = 2
"""Calls of ``sim.forward()`` while robosuite builds a scene: for simulation and for renderer."""

LARGEST_RESTORED_ARRAY = 100_000
"""Meshes and textures are larger, and no episode writes to them."""


class ModelSnapshot:
    """The numbers of a freshly parsed MuJoCo model, to be written back after an episode."""

    def __init__(self, model: mujoco.MjModel) -> None:
        self._arrays: dict[str, np.ndarray] = {}
        for name in dir(model):
            value = None if name.startswith("_") else getattr(model, name)
            if isinstance(value, np.ndarray) and value.size <= LARGEST_RESTORED_ARRAY:
                self._arrays[name] = value.copy()

    def restore(self, model: mujoco.MjModel) -> None:
        for name, value in self._arrays.items():
            getattr(model, name)[...] = value


class Resets:
    """Hard and cheap resets of the robosuite environment ``inner``, before it is initialised."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._samplers: list | None = None
        self._parsed: ModelSnapshot | None = None
        initialize_sim = inner._initialize_sim

        def initialize_sim_and_keep(xml_string: str | None = None) -> None:
            initialize_sim(xml_string)
            self._parsed = ModelSnapshot(inner.sim.model._model)

        inner._initialize_sim = initialize_sim_and_keep

    def hard(self) -> None:
        """Parse the scene and build the renderer again."""
        make_current(self._inner)  # The old renderer is freed.
        self._inner.hard_reset = True
        # Loading the scene appends one set more.
        self._reset(sets_of_samplers=LOADS_BEFORE_FIRST_RESET - 1)

    def cheap(self) -> None:
        """Keep scene and renderer, and clear what an episode leaves behind in them."""
        inner = self._inner
        inner.hard_reset = False
        assert self._parsed is not None
        self._parsed.restore(inner.sim.model._model)
        inner.sim.reset = self._empty_data
        for robot in inner.robots:
            robot.gripper.current_action = np.zeros(robot.gripper.dof)
        self._reset(sets_of_samplers=LOADS_BEFORE_FIRST_RESET)

    def _empty_data(self) -> None:
        """robosuite's ``sim.reset``, with the solver's warm start as building a scene leaves it."""
        sim = self._inner.sim
        mujoco.mj_resetData(sim.model._model, sim.data._data)
        for _ in range(FORWARDS_WHEN_BUILT):
            sim.forward()

    def _reset(self, *, sets_of_samplers: int) -> None:
        samplers = self._inner.object_property_initializers
        if self._samplers is None:
            self._samplers = list(samplers)
        # LIBERO's own wrapper retries for ever on any exception, so that a broken renderer looks
        # like a hang. Only a placement that did not fit is worth another try.
        for _ in range(PLACEMENT_ATTEMPTS):
            samplers[:] = self._samplers * sets_of_samplers
            try:
                self._inner.reset()
                return
            except RandomizationError:
                continue
        raise RuntimeError(
            f"LIBERO found no placement of its objects in {PLACEMENT_ATTEMPTS} attempts."
        )
