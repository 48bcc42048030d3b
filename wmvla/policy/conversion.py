"""Checkpoints as policies, as they are or with the world parts added, and written for LeRobot."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from draccus.utils import DecodingError
from lerobot.configs import PreTrainedConfig
from lerobot.policies.factory import get_policy_class, make_pre_post_processors
from lerobot.policies.pretrained import PreTrainedPolicy

from wmvla.errors import UserError
from wmvla.files import new_folder, temporary_files_removed
from wmvla.policy.base_processors import base_processors, load_processors
from wmvla.policy.configuration_smolvla_world import SmolVLAWorldConfig
from wmvla.policy.inheritance import data_names, rename_features, smolvla_config
from wmvla.policy.modeling_smolvla_world import SmolVLAWorldPolicy
from wmvla.policy.normalisation import Pipelines
from wmvla.policy.processor_smolvla_world import WorldLatentsProcessorStep, latents_step
from wmvla.policy.weights import WEIGHTS, checkpoint_fields, checkpoint_folder, load_weights
from wmvla.policy.whole_checkpoint import as_user_error, check_files


def load_policy(checkpoint: Path, overrides: dict[str, Any] | None = None) -> PreTrainedPolicy:
    """A policy of any registered type from a LeRobot checkpoint folder, strictly: every weight
    present, every shape equal. ``overrides``: configuration fields to change.

    UserError: the configuration has fields that its policy does not know here, or lacks one that is
    to be changed.
    """
    checkpoint_folder(checkpoint)
    try:
        with temporary_files_removed():
            config = PreTrainedConfig.from_pretrained(checkpoint)
    except DecodingError as error:
        kind = checkpoint_fields(checkpoint).get("type")
        raise UserError(
            f"{checkpoint / 'config.json'} does not fit this program's {kind} ({error}): it was"
            " made with another version"
        ) from error
    for key, value in (overrides or {}).items():
        if not hasattr(config, key):
            raise UserError(
                f"{checkpoint / 'config.json'}: 'type' is {config.type}, which has no field"
                f" '{key}': it is the checkpoint of another policy; put the right one there."
            )
        setattr(config, key, value)
    check_files(checkpoint)
    with as_user_error(checkpoint):
        policy = get_policy_class(config.type)(config)
        load_weights(policy, checkpoint / WEIGHTS)
        return policy.to(config.device).eval()


def load_with_processors(
    checkpoint: Path, device: str, widths: Mapping[str, int] | None = None
) -> tuple[PreTrainedPolicy, Pipelines]:
    """The policy of ``checkpoint`` with its processors, on ``device``; ``widths``: see
    ``wmvla.policy.normalisation.check_statistics``."""
    policy = load_policy(checkpoint, {"device": device})
    return policy, load_processors(policy.config, checkpoint, widths=widths)


def add_world(
    base: str | Path, world: dict[str, Any], seed: int, device: str
) -> tuple[SmolVLAWorldPolicy, Pipelines]:
    """A ``smolvla_world`` policy that starts as the SmolVLA checkpoint ``base`` (folder or hub id),
    with the base's processors, the fields ``world`` of ``SmolVLAWorldConfig``, and world parts from
    ``seed``. UserError: no SmolVLA checkpoint; no latents of which to take the statistics."""
    config = SmolVLAWorldConfig(**world, init_from_policy_path=str(base), device=device)
    policy, processors = start_policy(config, seed)
    policy.take_statistics()
    return policy, processors


def start_policy(config: SmolVLAWorldConfig, seed: int) -> tuple[SmolVLAWorldPolicy, Pipelines]:
    """The policy and processors that ``config.init_from_policy_path`` leads to, without statistics
    of the latents."""
    source = Path(config.init_from_policy_path)
    with torch.random.fork_rng(devices=[]), as_user_error(source):
        torch.manual_seed(seed)
        policy = SmolVLAWorldPolicy(config)
    return policy.to(config.device), make_pre_post_processors(config)


def convert(config: SmolVLAWorldConfig, target: Path, seed: int) -> bool:
    """Write the ``smolvla_world`` checkpoint that starts as the SmolVLA
    ``config.init_from_policy_path``: whether it is complete. Without a latent cache the statistics
    are missing, and the first training step takes them."""
    _refuse_existing(target)
    policy, processors = start_policy(config, seed)
    complete = not config.world_standardise or Path(latents_step(config).path).is_file()
    if complete:
        policy.take_statistics()
    _save(target, policy, processors)
    return complete


def rewrite(config: SmolVLAWorldConfig, source: str | Path, target: Path) -> None:
    """Write the ``smolvla_world`` checkpoint ``source`` again with ``config``, its latents step to
    match. UserError: the weights do not fit ``config``."""
    _refuse_existing(target)
    folder = checkpoint_folder(source)
    check_files(folder)
    with as_user_error(folder):
        policy = SmolVLAWorldPolicy(config)
    load_weights(policy, folder / WEIGHTS)
    preprocessor, postprocessor = load_processors(config, folder)
    kept = [step for step in preprocessor.steps if not isinstance(step, WorldLatentsProcessorStep)]
    preprocessor.steps = [*kept, latents_step(config)]
    _save(target, policy, (preprocessor, postprocessor))


def rename_cameras(source: Path, target: Path, rename_map: dict[str, str]) -> None:
    """Write a copy of the SmolVLA checkpoint ``source`` that asks for its images by the data's
    names.

    Args:
        rename_map: see ``wmvla.policy.inheritance.data_names``.
    """
    config = smolvla_config(source)
    assert config.input_features
    names = data_names(source, rename_map)
    config.input_features = rename_features(config.input_features, names)
    processors = base_processors(config, str(source), rename_map)
    with new_folder(target) as unfinished:
        shutil.copytree(source, unfinished, dirs_exist_ok=True)
        config.save_pretrained(unfinished)
        for processor in processors:
            processor.save_pretrained(unfinished)


def is_world_checkpoint(source: str | Path) -> bool:
    """Whether ``source``, a folder or a hub id, holds a ``smolvla_world`` already."""
    return checkpoint_fields(checkpoint_folder(source)).get("type") == "smolvla_world"


def _refuse_existing(target: Path) -> None:
    if target.exists():
        raise UserError(f"{target} exists already: give another folder, or remove it.")


def _save(target: Path, policy: SmolVLAWorldPolicy, processors: Pipelines) -> None:
    with new_folder(target) as unfinished:
        policy.save_pretrained(unfinished)
        for processor in processors:
            processor.save_pretrained(unfinished)
