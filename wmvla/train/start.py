"""The policy and processors that a training run starts from."""

from pathlib import Path
from typing import Any

import torch
from lerobot.configs import FeatureType
from lerobot.datasets import LeRobotDatasetMetadata
from lerobot.policies.factory import make_pre_post_processors
from lerobot.policies.pretrained import PreTrainedPolicy
from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from lerobot.processor import PolicyProcessorPipeline
from lerobot.utils.constants import ACTION, OBS_STATE
from lerobot.utils.feature_utils import dataset_to_policy_features

from wmvla.data.cameras import camera_keys, world_cameras
from wmvla.data.frames import dataset_fingerprint
from wmvla.policy.conversion import Pipelines, add_world, load_with_processors
from wmvla.policy.processor_smolvla_world import WorldLatentsProcessorStep
from wmvla.recipe import BaseModel, Environment
from wmvla.train.checkpoint import pretrained_folder
from wmvla.train.job import TrainingJob
from wmvla.world.latents.cache import LatentCache


def tiny_policy_fields(
    model: BaseModel, environment: Environment, n_action_steps: int, vlm: Path
) -> dict[str, Any]:
    """Fields of ``SmolVLAConfig`` for a policy that is trained here from nothing."""
    return {
        "vlm_model_name": str(vlm),
        "load_vlm_weights": False,
        "num_vlm_layers": model.text_layers,
        "expert_width_multiplier": model.expert_width_multiplier,
        "chunk_size": model.chunk_size,
        "n_action_steps": n_action_steps,
        "num_steps": model.num_denoising_steps,
        "resize_imgs_with_padding": [environment.image_size, environment.image_size],
        "freeze_vision_encoder": False,
        "train_expert_only": False,
    }


def from_scratch(
    fields: dict[str, Any], metadata: LeRobotDatasetMetadata, seed: int, device: str
) -> tuple[SmolVLAPolicy, Pipelines]:
    """A new SmolVLA for the dataset, with processors normalised by its statistics."""
    features = dataset_to_policy_features(metadata.features)
    outputs = {
        key: feature for key, feature in features.items() if feature.type is FeatureType.ACTION
    }
    inputs = {key: feature for key, feature in features.items() if key not in outputs}
    config = SmolVLAConfig(**fields, device=device, input_features=inputs, output_features=outputs)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        policy = SmolVLAPolicy(config)
    return policy.to(device), make_pre_post_processors(config, dataset_stats=metadata.stats)


def refuse_other_dataset(
    preprocessor: PolicyProcessorPipeline, metadata: LeRobotDatasetMetadata
) -> None:
    """Refuse latents that were made of another dataset than the one that is trained on, or of
    another camera of it.

    Raises:
        UserError: they were.
    """
    for step in preprocessor.steps:
        if isinstance(step, WorldLatentsProcessorStep):
            LatentCache(
                Path(step.path),
                step.window,
                step.width,
                step.camera,
                dataset=dataset_fingerprint(metadata),
                camera_keys=world_cameras(
                    camera_keys(metadata), step.camera, f"the dataset {metadata.repo_id}"
                ),
            )


def widths_of(metadata: LeRobotDatasetMetadata) -> dict[str, int]:
    """How many numbers a state and an action of the dataset have, by key."""
    return {key: metadata.features[key]["shape"][0] for key in (OBS_STATE, ACTION)}


def start(
    job: TrainingJob, metadata: LeRobotDatasetMetadata, step: int, device: str
) -> tuple[PreTrainedPolicy, Pipelines]:
    """The run's policy at ``step``: from its own checkpoint when it has one, else from the base or
    from nothing."""
    if step:
        return load_with_processors(pretrained_folder(Path(job.checkpoints), step), device)
    if job.scratch is not None:
        return from_scratch(job.scratch, metadata, job.seed, device)
    if job.world is not None:
        return add_world(Path(job.base), job.world, job.seed, device)
    return load_with_processors(Path(job.base), device, widths_of(metadata))
