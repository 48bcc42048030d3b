"""The evaluated checkpoint as a policy of the engine, loaded as ``lerobot-eval`` loads it."""

import os
from pathlib import Path

import torch
from lerobot.envs.configs import LiberoEnv
from lerobot.policies.factory import make_policy
from lerobot.utils.device_utils import get_safe_torch_device

from wmvla.commands.evaluation.flags import EvalConfig
from wmvla.errors import UserError
from wmvla.policy.base_processors import load_processors
from wmvla.rollout.any_policy import AnyPolicy
from wmvla.rollout.policy import CAMERA, RolloutPolicy
from wmvla.sim.libero.fast.cameras import MUJOCO_CAMERAS

STATE, STATE_SHAPE = "observation.state", (8,)
OWN_NOISE = ("smolvla", "smolvla_world")
"""Types that take their noise as an argument, so that they can answer several queries together."""
LOCAL_RANKS = ("LOCAL_RANK", "SLURM_LOCALID")
"""A process's number on its machine: torchrun's variable, then Slurm's."""


def load_rollout_policy(config: EvalConfig, checkpoint: Path) -> RolloutPolicy | AnyPolicy:
    """The policy of ``config`` from the folder ``checkpoint``, with its processors. UserError: it
    asks for images or a state that LIBERO does not have."""
    assert config.policy is not None
    assert isinstance(config.env, LiberoEnv)
    device = get_safe_torch_device(config.policy.device)
    if device.type == "cuda":
        if device.index is None:
            _take_own_gpu()
        # As lerobot-eval, but for cuDNN's choice by timing, which changes the results.
        torch.backends.cuda.matmul.allow_tf32 = True
    names = to_policy_names(config.env, config.rename_map)
    asked = (config.policy.input_features or {}).get(STATE)
    if asked is not None and STATE not in names and tuple(asked.shape) != STATE_SHAPE:
        raise UserError(
            f"{config.policy.pretrained_path} asks for a state of {asked.shape[0]} numbers, LIBERO"
            f" has {STATE_SHAPE[0]}: it was trained for another robot."
        )
    config.policy.pretrained_path = checkpoint
    policy = make_policy(config.policy, env_cfg=config.env, rename_map=config.rename_map).eval()
    overrides = {"rename_observations_processor": {"rename_map": names}}
    processors = load_processors(config.policy, checkpoint, overrides)
    if config.policy.type in OWN_NOISE and not config.policy.use_peft:
        largest_batch = 1 if config.deterministic else None
        return RolloutPolicy.of(policy, processors, config.policy.n_action_steps, largest_batch)
    return AnyPolicy(policy, processors)


def to_policy_names(env: LiberoEnv, rename_map: dict[str, str]) -> dict[str, str]:
    """``rename_map`` from our cameras' names; LeRobot's is from those of
    ``--env.camera_name_mapping``."""
    given = env.camera_name_mapping or {}
    names = {
        f"{CAMERA}{given.get(f'{camera}_image', ours)}": f"{CAMERA}{ours}"
        for ours, camera in MUJOCO_CAMERAS.items()
    }
    renamed = {ours: rename_map.get(lerobots, lerobots) for lerobots, ours in names.items()}
    rest = {data: name for data, name in rename_map.items() if data not in names}
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
