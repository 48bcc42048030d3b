"""How an arm starts: from the base checkpoint, as it is or with the world parts added, and with *its* processors."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from lerobot.configs import PreTrainedConfig
from lerobot.policies.factory import make_pre_post_processors
from lerobot.policies.pretrained import PreTrainedPolicy
from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
from lerobot.processor import PolicyProcessorPipeline
from safetensors.torch import load_file

from wmvla.errors import UserError
from wmvla.policy.configuration_smolvla_world import SmolVLAWorldConfig
from wmvla.policy.modeling_smolvla_world import SmolVLAWorldPolicy
from wmvla.policy.processor_smolvla_world import latents_step
from wmvla.world.latents import LatentCache

WORLD_KEYS = ("prophet.", "world_injection.", "world_mean", "world_std")

Pipelines = tuple[PolicyProcessorPipeline, PolicyProcessorPipeline]


def load_policy(checkpoint: Path, overrides: dict[str, Any] | None = None) -> PreTrainedPolicy:
    """A policy of any registered type from a LeRobot checkpoint folder, strictly: every weight present, every shape equal.

    Args:
        overrides: configuration fields to change, for instance ``{"world_memory_mode_rollout": "zero"}``.
    """
    from lerobot.policies.factory import get_policy_class

    config = PreTrainedConfig.from_pretrained(checkpoint)
    for key, value in (overrides or {}).items():
        assert hasattr(config, key), f"{config.type} has no configuration field {key}"
        setattr(config, key, value)
    policy = get_policy_class(config.type)(config)
    load_weights(policy, checkpoint, added=())
    return policy.to(config.device).eval()


def load_processors(config: PreTrainedConfig, checkpoint: Path) -> Pipelines:
    """The checkpoint's own pre- and post-processor, on the policy's device instead of the one that trained it."""
    moved = {"device_processor": {"device": config.device}}
    return make_pre_post_processors(config, str(checkpoint), preprocessor_overrides=moved)


def add_world(base: Path, world: dict[str, Any], seed: int, device: str) -> tuple[SmolVLAWorldPolicy, Pipelines]:
    """A ``smolvla_world`` policy that starts as the SmolVLA checkpoint ``base``, with the base's processors.

    Args:
        base: LeRobot checkpoint folder of a SmolVLA.
        world: fields of ``SmolVLAWorldConfig`` that SmolVLA does not have.
        seed: initial weights of the world parts.
    """
    plain = PreTrainedConfig.from_pretrained(base)
    if not isinstance(plain, SmolVLAConfig):
        raise UserError(f"{base}: a {plain.type} checkpoint; world parts can be added to a smolvla only.")
    inherited = {field.name: getattr(plain, field.name) for field in fields(plain) if field.init and field.name != "type"}
    config = SmolVLAWorldConfig(**{**inherited, **world, "device": device})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        policy = SmolVLAWorldPolicy(config)
    load_weights(policy, base, added=WORLD_KEYS)
    step = latents_step(config)
    policy.set_world_statistics(*LatentCache(Path(step.path), step.window, step.width).statistics())
    preprocessor, postprocessor = load_processors(config, base)
    preprocessor.steps.append(step)
    return policy.to(config.device), (preprocessor, postprocessor)


def load_with_processors(checkpoint: Path, device: str) -> tuple[PreTrainedPolicy, Pipelines]:
    """The policy of ``checkpoint`` with its processors, on ``device``."""
    policy = load_policy(checkpoint, {"device": device})
    return policy, load_processors(policy.config, checkpoint)


def load_weights(policy: PreTrainedPolicy, checkpoint: Path, added: tuple[str, ...]) -> None:
    """Fill ``policy`` from ``model.safetensors``; only keys that start with one of ``added`` may be missing there.

    Raises:
        UserError: missing file; keys missing or too many; another shape.
    """
    file = checkpoint / "model.safetensors"
    if not file.is_file():
        raise UserError(f"{file} does not exist: {checkpoint} is not a finished checkpoint.")
    loaded = load_file(file)
    own = policy.state_dict()
    # safetensors stores tied weights once, under one of their names
    shared = {
        key
        for key, value in own.items()
        for other in loaded
        if other in own and other != key and own[other].data_ptr() == value.data_ptr()
    }
    for key, value in loaded.items():
        if key in own and own[key].shape != value.shape:
            shapes = f"{key} is {tuple(value.shape)}, in the policy {tuple(own[key].shape)}"
            raise UserError(f"{file} has other shapes than the policy: {shapes}. It is the checkpoint of another model.")
    missing = [key for key in own if key not in loaded and key not in shared and not key.startswith(added or ("\0",))]
    unknown = [key for key in loaded if key not in own]
    for keys, what in ((missing, "lacks"), (unknown, "has, and the policy has not,")):
        if keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise UserError(f"{file} {what} {keys[0]}{more}. It is the checkpoint of another model.")
    policy.load_state_dict(loaded, strict=False)
