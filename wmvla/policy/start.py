"""What a policy must have before it trains: first weights, and fitting latents with statistics."""

import logging
from pathlib import Path
from typing import Any

from torch import nn

from wmvla.errors import UserError
from wmvla.policy.configuration_smolvla_world import SmolVLAWorldConfig
from wmvla.policy.processor_smolvla_world import FUTURE, HISTORY, LATENTS_PATH, latents_step
from wmvla.policy.weights import WEIGHTS, checkpoint_folder, load_weights
from wmvla.policy.whole_checkpoint import check_files
from wmvla.world.latents.cache import LatentCache


def take_first_weights(policy: nn.Module, config: SmolVLAWorldConfig) -> None:
    """The weights of ``policy.init_from_policy_path``, if set; the policy's ``__init__`` ends so.

    Non-obvious: the path then leaves the configuration, so that no checkpoint that is saved later
    depends on it. ``config.start`` keeps it for the processors, which LeRobot makes after the
    policy.
    """
    source, _ = config.start
    if not source:
        return
    if config.pretrained_path:
        raise UserError(
            f"policy.init_from_policy_path = {source} and policy.path = {config.pretrained_path} "
            "exclude each other: give the first to start from a SmolVLA, the second to continue "
            "a smolvla_world."
        )
    folder = checkpoint_folder(source)
    check_files(folder)
    missing, unknown = load_weights(policy, folder / WEIGHTS, _is_world, config.init_from_strict)
    lacking = [key for key in missing if not _is_world(key)]
    logging.info("Weights and processors come from %s", source)
    if lacking or unknown:
        text = "%s lacks %d of SmolVLA's weights and has %d unknown ones"
        logging.warning(text, source, len(lacking), len(unknown))
    config.leave_start()


def load_own_weights(policy: nn.Module, file: Path) -> None:
    """The weights of a ``smolvla_world`` checkpoint, strictly; LeRobot only logs what is missing.
    UserError: the checkpoint of a plain SmolVLA, whose processors fetch no latents; or see
    ``load_weights``."""
    missing, unknown = load_weights(policy, file, _is_world)
    assert not unknown
    if set(missing) == {key for key in policy.state_dict() if _is_world(key)}:
        raise UserError(
            f"{file.parent} is a plain SmolVLA: its processors fetch no world latents. Give it as"
            " --policy.init_from_policy_path, or convert it with lerobot-wm-convert."
        )
    if missing:
        raise UserError(
            f"{file} lacks {missing[0]}: it was trained with other policy.world_* fields."
        )


def check_training_batch(config: SmolVLAWorldConfig, batch: dict[str, Any]) -> None:
    """UserError unless a first training batch has latents of the cache and of the lengths that the
    policy asks for.

    Non-obvious: the step that made the batch may come from a checkpoint, with fields of its own; so
    the cache is opened once more as the policy's configuration describes it.
    """
    if HISTORY not in batch:
        raise UserError(
            "Training batches carry no world latents: the processors are those of a plain SmolVLA,"
            " or the dataset gives no 'index'; set policy.init_from_policy_path instead of"
            " policy.pretrained_path, or start from a checkpoint made by lerobot-wm-convert."
        )
    asked = latents_step(config)
    if Path(batch[LATENTS_PATH]).resolve() != Path(asked.path).resolve():
        raise UserError(
            f"The policy asks for the latents {asked.path}, but the checkpoint's processors read"
            f" {batch[LATENTS_PATH]}: make a checkpoint for the former with lerobot-wm-convert, or"
            " leave policy.cache_dir, dataset_repo_id, world_latents_source and latent_suffix as"
            " they were."
        )
    asked_cache(config)
    wanted = (config.context_frames, config.future_offset, config.world_latent_dim)
    found = (batch[HISTORY].shape[1], batch[FUTURE].shape[1], batch[HISTORY].shape[2])
    if found != wanted:
        raise UserError(
            f"The checkpoint's processors give {found[0]} past and {found[1]} future latents of"
            f" width {found[2]}, but policy.context_frames, future_offset and world_latent_dim ask"
            f" for {wanted[0]}, {wanted[1]} and {wanted[2]}."
        )


def asked_cache(config: SmolVLAWorldConfig) -> LatentCache:
    """The cache that the configuration describes, which from now on knows the encoder that made it.
    UserError: it is not there, or another one."""
    step, known = latents_step(config), config.world_encoder_hash
    path = Path(step.path)
    cache = LatentCache(path, step.window, step.width, step.camera, encoder=known or None)
    config.world_encoder_hash = cache.metadata["encoder"].get("hash") or known
    return cache


def _is_world(key: str) -> bool:
    """Whether a weight is one that SmolVLA does not have."""
    return not key.startswith("model.")
