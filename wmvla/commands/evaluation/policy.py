"""The evaluated checkpoint as a policy of the engine, loaded as ``lerobot-eval`` loads it."""

import os
import sys
from pathlib import Path

import torch
from lerobot.envs.configs import LiberoEnv
from lerobot.utils.constants import ACTION
from lerobot.utils.device_utils import get_safe_torch_device

from wmvla.commands.evaluation.flags import EvalConfig
from wmvla.errors import UserError
from wmvla.policy.base_processors import load_processors
from wmvla.policy.camera_names import check_cameras
from wmvla.policy.normalisation import pads_state
from wmvla.policy.whole_checkpoint import whole_policy
from wmvla.rollout.any_policy import AnyPolicy
from wmvla.rollout.conventions import check_conventions
from wmvla.rollout.policy import CAMERA, RolloutPolicy
from wmvla.sim.libero.fast.cameras import MUJOCO_CAMERAS

STATE, STATE_WIDTH = "observation.state", 8
OWN_NOISE = ("smolvla", "smolvla_world")
"""Types that take their noise as an argument, so that they can answer several queries together."""
LOCAL_RANKS = ("LOCAL_RANK", "SLURM_LOCALID")
"""A process's number on its machine: torchrun's variable, then Slurm's."""


def load_rollout_policy(config: EvalConfig, checkpoint: Path) -> RolloutPolicy | AnyPolicy:
    """The policy of ``config`` from the folder ``checkpoint``, with its processors.

    Raises:
        UserError: it is not whole, asks for images or a state that LIBERO does not have, or was
        trained on another gripper.
    """
    assert config.policy is not None
    assert isinstance(config.env, LiberoEnv)
    device = get_safe_torch_device(config.policy.device)
    if device.type == "cuda":
        if device.index is None:
            _take_own_gpu()
        # As lerobot-eval, but for cuDNN's choice by timing, which changes the results.
        torch.backends.cuda.matmul.allow_tf32 = True
    names = to_policy_names(config.env, config.rename_map)
    check_inputs(config, names)
    config.policy.pretrained_path = checkpoint
    policy = whole_policy(config.policy, env_cfg=config.env, rename_map=config.rename_map).eval()
    overrides = {"rename_observations_processor": {"rename_map": names}}
    (action,) = config.policy.output_features[ACTION].shape
    widths = {names.get(STATE, STATE): STATE_WIDTH, ACTION: action}
    processors = load_processors(config.policy, checkpoint, overrides, widths)
    check_conventions(processors, checkpoint)
    if config.policy.type in OWN_NOISE and not config.policy.use_peft:
        largest_batch = 1 if config.deterministic else None
        return RolloutPolicy.of(policy, processors, config.policy.n_action_steps, largest_batch)
    return AnyPolicy(policy, processors)


def check_inputs(config: EvalConfig, names: dict[str, str]) -> None:
    """What the policy reads is what LIBERO shows, by name; a camera without an image is reported.

    Args:
        names: see ``to_policy_names``.

    Raises:
        UserError: a rename of or to a name that nobody has; or see ``check_cameras``; or a state of
        another width.
    """
    policy, read = config.policy, config.policy.input_features or {}
    assert isinstance(config.env, LiberoEnv)
    given = {lerobots: ours for ours, lerobots in lerobots_names(config.env).items()}
    for data, name in config.rename_map.items():
        if data not in (*given, STATE):
            raise UserError(
                f"--rename_map renames {data}, which LIBERO does not show; it shows"
                f" {', '.join(given)}, {STATE}."
            )
        if read and name not in read:
            raise UserError(
                f"--rename_map renames {data} to {name}, but {policy.pretrained_path} reads"
                f" {', '.join(read)}."
            )
    if not read:
        return
    shown = {lerobots: names.get(ours, ours) for lerobots, ours in given.items()}
    for camera in check_cameras(policy, shown):
        print(
            f"{policy.pretrained_path} reads {camera} too, of which LIBERO has no image: it plays"
            " without, as LeRobot does.",
            file=sys.stderr,
        )
    asked = read.get(names.get(STATE, STATE))
    if asked is not None and tuple(asked.shape) != (STATE_WIDTH,) and not pads_state(policy):
        raise UserError(
            f"{policy.pretrained_path} asks for a state of {asked.shape[0]} numbers, LIBERO has"
            f" {STATE_WIDTH}: it was trained for another robot."
        )


def lerobots_names(env: LiberoEnv) -> dict[str, str]:
    """Our cameras' names -> those that ``--env.camera_name_mapping`` gives them."""
    given = env.camera_name_mapping or {}
    return {
        f"{CAMERA}{ours}": f"{CAMERA}{given.get(f'{camera}_image', ours)}"
        for ours, camera in MUJOCO_CAMERAS.items()
    }


def to_policy_names(env: LiberoEnv, rename_map: dict[str, str]) -> dict[str, str]:
    """``rename_map`` from our cameras' names; LeRobot's starts at those that
    ``--env.camera_name_mapping`` gives them."""
    names = lerobots_names(env)
    renamed = {ours: rename_map.get(lerobots, lerobots) for ours, lerobots in names.items()}
    rest = {data: name for data, name in rename_map.items() if data not in names.values()}
    return {data: name for data, name in {**rest, **renamed}.items() if data != name}


def world_cameras(policy: RolloutPolicy | AnyPolicy, names: dict[str, str]) -> tuple[str, ...]:
    """The policy's world cameras by our names, which ``to_policy_names`` has renamed."""
    ours = {name: data for data, name in names.items()}
    keys = [f"{CAMERA}{camera}" for camera in policy.world_cameras]
    return tuple(ours.get(key, key).removeprefix(CAMERA) for key in keys)


def _take_own_gpu() -> None:
    """Of several ranks on a machine each takes another GPU."""
    local = next((os.environ[name] for name in LOCAL_RANKS if name in os.environ), "0")
    torch.cuda.set_device(int(local) % torch.cuda.device_count())
