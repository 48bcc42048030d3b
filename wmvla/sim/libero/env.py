# ruff: noqa: E402  LIBERO must be prepared before it is imported, or it asks for a path.
"""One LIBERO task as the policy sees it: exact, at a fraction of the stock environment's cost.

States, images and success are those of ``lerobot.envs.libero.LiberoEnv`` followed by
``LiberoProcessorStep``, number for number; tests compare them. What is different is that images are
drawn only when wanted and without the triangles that colour no pixel, that physics is not computed
three times over, that resets keep the parsed scene where that is proven exact, that an episode
depends on (task, initial state, seed) alone, and that a renderer's failure raises.
"""

import contextlib
import hashlib
import io
from typing import Any

import numpy as np
import torch

from wmvla.errors import UserError
from wmvla.recipe import Environment
from wmvla.sim.libero.assets import prepare_libero
from wmvla.sim.libero.fast.cameras import (
    ALL,
    MUJOCO_CAMERAS,
    NONE,
    CamerasOnDemand,
    as_policy_sees,
    make_current,
)
from wmvla.sim.library_logs import mujoco_warns_on_stderr
from wmvla.sim.observation import Observation, StepResult
from wmvla.watch.phase import phase

prepare_libero()
mujoco_warns_on_stderr()
import mujoco
from libero.libero import benchmark
from libero.libero.envs import TASK_MAPPING, bddl_utils
from robosuite import load_controller_config

from wmvla.sim.libero.fast.physics import PhysicsOnce
from wmvla.sim.libero.fast.resets import Resets

STATE_DIM = 8
ACTION_DIM = 7
CONTROL_FREQUENCY = 20
"""Control steps per simulated second."""
SETTLE_ACTION = np.array([0, 0, 0, 0, 0, 0, -1.0])
PROBE_ACTIONS = np.array(
    [[0.6, -0.4, -0.5, 0.1, -0.1, 0.2, 1.0]] * 3 + [[-0.5, 0.3, 0.2, 0, 0, 0, 1.0]] * 3
)
"""To check a cheap reset; they close the gripper, whose command a soft reset leaves behind."""


class LiberoSimulation:
    """Task ``task`` of ``environment.suite``.

    Its states (8,) are end effector position (m), axis-angle (rad) and finger positions (m); its
    images are turned by 180 degrees.

    Making one checks, for this very task, that a cheap reset after a disturbed episode gives the
    same states and images as a hard one, bit for bit; only then are resets cheap. ``plain``: always
    resets hard, and draws and computes everything as robosuite does by itself; that is what the
    rest is compared with.

    Raises ``UserError`` for an unknown suite or a task that it does not have.
    """

    cameras = tuple(MUJOCO_CAMERAS)

    def __init__(self, environment: Environment, task: int, *, plain: bool = False) -> None:
        suite = load_suite(environment.suite)
        if not 0 <= task < suite.n_tasks:
            raise UserError(
                f"{environment.suite} has no task {task}: environment.tasks takes 0 to"
                f" {suite.n_tasks - 1}."
            )
        if environment.settle_steps < 1:
            raise UserError(
                f"environment.settle_steps is {environment.settle_steps}: a scene needs at least 1"
                " step to settle."
            )
        self.environment = environment
        self.task = task
        self.language: str = suite.get_task(task).language
        self._init_states: np.ndarray = suite.get_task_init_states(task)
        self._cameras = CamerasOnDemand(only_what_shows=not plain)
        self._plain = plain
        self._physics: PhysicsOnce | None = None
        self._env = self._build(suite.get_task_bddl_file_path(task))
        self.resets_are_cheap = not plain and self._cheap_reset_is_exact(0, 0)
        if self.resets_are_cheap:
            # MuJoCo keeps all that it parsed of its last scene, 0.4 GB, until it parses another.
            mujoco.MjModel.from_xml_string("<mujoco/>")

    def _build(self, bddl_file: str) -> Any:
        """The robosuite environment as LIBERO's ``OffScreenRenderEnv``, with our sensors in it."""
        problem = TASK_MAPPING[bddl_utils.get_problem_info(bddl_file)["problem_name"]]
        env = problem.__new__(problem)
        self._cameras.install(env)
        self._resets = Resets(env)
        size = self.environment.image_size
        env.__init__(
            bddl_file,
            robots=["Panda"],
            controller_configs=load_controller_config(default_controller="OSC_POSE"),
            initialization_noise=None,
            camera_names=list(MUJOCO_CAMERAS.values()),
            camera_heights=size,
            camera_widths=size,
            control_freq=CONTROL_FREQUENCY,
        )
        return env

    @property
    def renders(self) -> int:
        """Images drawn for observations so far."""
        return self._cameras.renders

    @property
    def number_of_inits(self) -> int:
        return len(self._init_states)

    @property
    def robosuite(self) -> Any:
        """The robosuite environment, for expert and tests, who look behind the policy's view."""
        return self._env

    def reset(self, init: int, env_seed: int, want: frozenset[str] = ALL) -> Observation:
        """Start an episode from initial state ``init``; fixtures are placed by ``env_seed``.

        Returns the observation after the last settling step, with the images of the cameras in
        ``want``. The result depends on nothing that was played before. Raises ``UserError`` for an
        unknown initial state.
        """
        if not 0 <= init < self.number_of_inits:
            raise UserError(
                f"{self.environment.suite} task {self.task} has no initial state {init}: "
                f"inits take 0 to {self.number_of_inits - 1}."
            )
        return self._reset(init, env_seed, want, cheap=self.resets_are_cheap)

    def step(self, action: np.ndarray, want: frozenset[str] = ALL) -> StepResult:
        """Play ``action`` (7,): position and rotation changes in [-1, 1] of 5 cm and 0.5 rad,
        gripper (-1 opens); ``want`` are the cameras of the observation that follows."""
        assert action.shape == (ACTION_DIM,), action.shape
        assert want <= ALL, want
        self._cameras.wanted = want
        with self._physics_once():
            raw, _, success, _ = self._env.step(action)
        self._cameras.wanted = NONE
        return StepResult(self._observation(raw, want), bool(success))

    def scene_hash(self) -> str:
        """Hash of joint positions and velocities and of where every body is attached."""
        digest = hashlib.sha256()
        model, data = self._env.sim.model, self._env.sim.data
        for array in (data.qpos, data.qvel, model.body_pos, model.body_quat):
            digest.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
        return digest.hexdigest()[:16]

    def close(self) -> None:
        """Free scene and renderer; never just drop a simulation while another is in use."""
        make_current(self._env)
        self._env.close()

    def _reset(self, init: int, env_seed: int, want: frozenset[str], *, cheap: bool) -> Observation:
        env = self._env
        env.seed(env_seed)
        if cheap:
            self._resets.cheap()
        else:
            self._resets.hard()
        env.sim.set_state_from_flattened(self._init_states[init])
        env.sim.forward()
        env._post_process()
        env._update_observables(force=True)
        steps = self.environment.settle_steps
        for step in range(steps):
            with phase(f"settle step {step + 1}"):
                result = self.step(SETTLE_ACTION, want if step == steps - 1 else NONE)
        return result.observation

    def _observation(self, raw: dict[str, np.ndarray], want: frozenset[str]) -> Observation:
        state = np.concatenate(
            [raw["robot0_eef_pos"], _axis_angle(raw["robot0_eef_quat"]), raw["robot0_gripper_qpos"]]
        ).astype(np.float32)
        images = {
            name: as_policy_sees(raw[f"{MUJOCO_CAMERAS[name]}_image"])
            for name in self.cameras
            if name in want
        }
        return Observation(state, images)

    def _physics_once(self) -> contextlib.AbstractContextManager[None]:
        if self._plain:
            return contextlib.nullcontext()
        if self._physics is None or not self._physics.serves(self._env.sim):
            self._physics = PhysicsOnce(self._env.sim)
        return self._physics.control_step()

    def _cheap_reset_is_exact(self, init: int, env_seed: int) -> bool:
        renders = self._cameras.renders
        hard = self._fingerprint(init, env_seed, cheap=False)
        cheap = self._fingerprint(init, env_seed, cheap=True)
        self._cameras.renders = renders
        return hard == cheap

    def _fingerprint(self, init: int, env_seed: int, *, cheap: bool) -> str:
        """Hash of an episode's start, with actions that disturb what comes next."""
        first = self._reset(init, env_seed, ALL, cheap=cheap)
        parts = [self.scene_hash().encode(), *_bytes_of(first)]
        for action in PROBE_ACTIONS:
            parts += _bytes_of(self.step(action, NONE).observation)
        parts += [self.scene_hash().encode(), *_bytes_of(self.step(SETTLE_ACTION, ALL).observation)]
        return hashlib.sha256(b"".join(parts)).hexdigest()


def load_suite(name: str) -> Any:
    """LIBERO's suite ``name``; ``UserError`` when there is none of that name."""
    suites = benchmark.get_benchmark_dict()
    if name not in suites:
        known = ", ".join(sorted(suite for suite in suites if suite != "libero_100"))
        raise UserError(f"LIBERO has no suite {name!r}: environment.suite takes {known}.")
    with contextlib.redirect_stdout(io.StringIO()):  # It prints its task order.
        return suites[name]()


def _axis_angle(quaternion: np.ndarray) -> np.ndarray:
    """Axis times angle (3,) float32 of a quaternion (x, y, z, w), in the arithmetic of LeRobot's
    processor: single precision and torch's ``acos``, for numpy's differs in the last bit."""
    q = torch.from_numpy(quaternion).to(torch.float32)
    w = q[3:].clamp(-1.0, 1.0)
    sine = torch.sqrt(torch.clamp(1.0 - w * w, min=0.0))
    if sine.item() <= 1e-10:
        return np.zeros(3, dtype=np.float32)
    return (q[:3] / sine * (2.0 * torch.acos(w))).numpy()


def _bytes_of(observation: Observation) -> list[bytes]:
    return [observation.state.tobytes(), *(one.tobytes() for one in observation.images.values())]
