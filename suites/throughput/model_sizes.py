"""Policies and encoders with random weights, batches of noise: published sizes on a GPU, else tiny.

Nothing is fetched. The published sizes are those of public configurations:
SmolVLM2-500M-Video-Instruct under LeRobot's own defaults of SmolVLA, and V-JEPA 2 ViT-g at 256
pixels. Speed does not depend on what the weights know.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.pretrained import PreTrainedPolicy
from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from transformers import SmolVLMConfig, VJEPA2Config, VJEPA2Model, VJEPA2VideoProcessor

from bench.forecast.flops import PUBLISHED_POLICY
from wmvla.policy.configuration_smolvla_world import SmolVLAWorldConfig
from wmvla.policy.modeling_smolvla_world import SmolVLAWorldPolicy
from wmvla.policy.processor_smolvla_world import FUTURE, HISTORY, VALID
from wmvla.policy.tiny_vlm import make_tiny_vlm
from wmvla.recipe import BaseModel

MEMORY = {"E1": "zero", "E2": "pred"}
"""What fills the memory of an arm in training; E0 has none."""
CAMERAS = ("observation.images.image", "observation.images.image2")
STATE, ACTION, WINDOW = 8, 7, 4
"""Numbers in LIBERO's state and action, and frames of one clip."""


@dataclass(frozen=True)
class Size:
    policy: BaseModel
    image: int
    """Pixels of a side, as the policy's vision tower sees them."""
    vocabulary: int
    """Words of the tokenizer; 0: those that LIBERO's sentences ask for."""
    text_intermediate: int
    tokens: int
    """Of the instruction."""
    encoder: dict[str, Any]
    """Fields of ``VJEPA2Config``."""


REAL = Size(
    # The published checkpoint's, but for the action expert: LeRobot's own default is wider.
    policy=replace(
        PUBLISHED_POLICY.model, source="random", vision_heads=12, expert_width_multiplier=0.75
    ),
    image=512,
    vocabulary=49280,
    text_intermediate=2560,
    tokens=48,
    encoder={
        "crop_size": 256,
        "hidden_size": 1408,
        "num_hidden_layers": 40,
        "num_attention_heads": 22,
        "mlp_ratio": 48 / 11,
    },
)
TINY = Size(
    policy=BaseModel(source="random"),
    image=64,
    vocabulary=0,
    text_intermediate=384,
    tokens=12,
    encoder={
        "crop_size": 64,
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "pred_hidden_size": 64,
        "pred_num_attention_heads": 4,
        "pred_num_hidden_layers": 1,
        "pred_num_mask_tokens": 1,
    },
)


def size_for(device: str) -> Size:
    return REAL if device == "cuda" else TINY


def make_vlm(folder: Path, size: Size, sentences: list[str]) -> Path:
    """A SmolVLM2 folder of this size: configuration, tokenizer, processor, no weights of its own.
    Non-obvious: SmolVLA takes its weights from itself (``load_vlm_weights`` is off): those of the
    tiny model that this folder begins as are never read, and half a billion need not be written."""
    small = BaseModel(
        source="tiny",
        vision_patch=size.policy.vision_patch,
        vision_scale_factor=size.policy.vision_scale_factor,
    )
    make_tiny_vlm(folder, small, size.image, sentences)
    content = SmolVLMConfig.from_pretrained(folder).to_dict()
    model, text, vision = size.policy, content["text_config"], content["vision_config"]
    text |= {
        "hidden_size": model.text_hidden,
        "intermediate_size": size.text_intermediate,
        "num_hidden_layers": model.text_layers,
        "num_attention_heads": model.text_heads,
        "num_key_value_heads": model.text_key_value_heads,
        "head_dim": model.text_hidden // model.text_heads,
        "vocab_size": size.vocabulary or text["vocab_size"],
    }
    vision |= {
        "hidden_size": model.vision_hidden,
        "intermediate_size": 4 * model.vision_hidden,
        "num_hidden_layers": model.vision_layers,
        "num_attention_heads": model.vision_heads,
    }
    SmolVLMConfig.from_dict(content).save_pretrained(folder)
    return folder


def policy_config(arm: str, vlm: Path, size: Size, device: str) -> SmolVLAConfig:
    """The arm's configuration; what LeRobot's SmolVLA freezes by default is frozen."""
    images = {
        camera: PolicyFeature(FeatureType.VISUAL, (3, size.image, size.image)) for camera in CAMERAS
    }
    fields: dict[str, Any] = {
        "vlm_model_name": str(vlm),
        "load_vlm_weights": False,
        "num_vlm_layers": min(size.policy.text_layers, SmolVLAConfig.num_vlm_layers),
        "chunk_size": size.policy.chunk_size,
        "n_action_steps": 8,
        "resize_imgs_with_padding": (size.image, size.image),
        "device": device,
        "input_features": {
            **images,
            "observation.state": PolicyFeature(FeatureType.STATE, (STATE,)),
        },
        "output_features": {"action": PolicyFeature(FeatureType.ACTION, (ACTION,))},
    }
    if arm == "E0":
        return SmolVLAConfig(**fields)
    return SmolVLAWorldConfig(
        **fields, world_latent_dim=size.encoder["hidden_size"], world_memory_mode_train=MEMORY[arm]
    )


def make_policy(config: SmolVLAConfig) -> PreTrainedPolicy:
    """A policy with random weights, in training mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if not isinstance(config, SmolVLAWorldConfig):
            return SmolVLAPolicy(config).to(config.device).train()
        policy = SmolVLAWorldPolicy(config).to(config.device).train()
    policy.set_world_statistics(
        torch.zeros(config.world_latent_dim), torch.ones(config.world_latent_dim)
    )
    policy.ready_to_train = True  # there is no latent cache that it could be checked against
    return policy


def make_batch(
    policy: PreTrainedPolicy, samples: int, size: Size, device: str
) -> dict[str, torch.Tensor]:
    """What the preprocessor would give for so many samples, on the device already."""
    draws = torch.Generator().manual_seed(0)
    batch = {
        camera: torch.rand(samples, 3, size.image, size.image, generator=draws)
        for camera in CAMERAS
    }
    batch |= {
        "observation.state": torch.randn(samples, STATE, generator=draws),
        "action": torch.randn(samples, size.policy.chunk_size, ACTION, generator=draws),
        "observation.language.tokens": torch.randint(
            0, 200, (samples, size.tokens), generator=draws
        ),
        "observation.language.attention_mask": torch.ones(samples, size.tokens, dtype=torch.bool),
        "action_is_pad": torch.zeros(samples, size.policy.chunk_size, dtype=torch.bool),
    }
    if isinstance(policy, SmolVLAWorldPolicy):
        past, future, width = (
            policy.config.context_frames,
            policy.config.future_offset,
            policy.config.world_latent_dim,
        )
        batch |= {
            HISTORY: torch.randn(samples, past, width, generator=draws),
            FUTURE: torch.randn(samples, future, width, generator=draws),
            VALID: torch.ones(samples, future, dtype=torch.bool),
        }
    return {key: value.to(device) for key, value in batch.items()}


def make_encoder(folder: Path, size: Size) -> Path:
    """A V-JEPA 2 folder of this size, weights included: the world encoder reads one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        VJEPA2Model(VJEPA2Config(**size.encoder)).save_pretrained(folder)
    VJEPA2VideoProcessor(crop_size=size.encoder["crop_size"]).save_pretrained(folder)
    return folder
