"""SmolVLA's frozen vision tower and connector: encoding images, and training on the features.

A frozen tower gives the same features of the same image in every step of every training. So they
can be made once, and a policy can be trained on features in place of images. Its weights, their
names and its rollouts stay as they are.
"""

import hashlib
import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from torch import Tensor, nn

SHAPING = ("hidden_act", "layer_norm_eps", "num_attention_heads", "patch_size")
"""Fields of the vision tower's configuration that change its features and no weight's shape."""


def vision_parts(policy: SmolVLAPolicy) -> dict[str, nn.Module]:
    """The modules between pixels and the tokens that the language model reads."""
    model = policy.model.vlm_with_expert.get_vlm_model()
    return {"vision_model": model.vision_model, "connector": model.connector}


def is_vision_frozen(policy: SmolVLAPolicy) -> bool:
    """Whether no weight between pixels and tokens is trained."""
    parts = vision_parts(policy).values()
    return not any(weight.requires_grad for part in parts for weight in part.parameters())


def vision_hash(policy: SmolVLAPolicy) -> str:
    """Hash of all that turns a prepared image into tokens, 16 hex digits: weights and shaping."""
    config = policy.model.vlm_with_expert.get_vlm_model().config
    shaping = {name: getattr(config.vision_config, name) for name in SHAPING}
    shaping |= {"scale_factor": config.scale_factor}
    digest = hashlib.sha256(json.dumps(shaping, sort_keys=True, default=str).encode())
    for name, weight in _weights(policy):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        digest.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def _weights(policy: SmolVLAPolicy) -> Iterator[tuple[str, Tensor]]:
    for part, module in vision_parts(policy).items():
        for name, weight in sorted(module.state_dict().items()):
            yield f"{part}.{name}", weight


@torch.no_grad()
def encode_images(policy: SmolVLAPolicy, camera: str, images: Tensor, precision: str) -> Tensor:
    """What the policy's language model would read of images (B, 3, H, W) in [0, 1], on the policy's
    device, of the camera with that key, before SmolVLA scales it: (B, tokens, width).
    ``precision``: ``fp32``, or ``bf16`` by autocast, as the training has it."""
    with torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bf16"):
        prepared, _ = policy.prepare_images({camera: images})
        features: Tensor = policy.model.vlm_with_expert.embed_image(prepared[0])
    return features


def take_features(policy: SmolVLAPolicy) -> None:
    """From now on this object's batches carry features (B, tokens, width) in place of images.

    Non-obvious: two functions are replaced on the object, and no module, so that the weights keep
    their names, and what is saved and loaded again encodes images.
    """
    policy.prepare_images = partial(_prepare_features, policy)
    policy.model.vlm_with_expert.embed_image = lambda features: features


def _prepare_features(
    policy: SmolVLAPolicy, batch: dict[str, Any]
) -> tuple[list[Tensor], list[Tensor]]:
    """In place of SmolVLA's ``prepare_images``: the same cameras, order and masks.

    Non-obvious: SmolVLA fills a missing camera with a black image and masks it. Nothing attends to
    what is masked, so zeros do.
    """
    keys = policy.config.image_features
    found = [batch[key] for key in keys if key in batch]
    empty = min(len(keys) - len(found), policy.config.empty_cameras)
    seen = torch.ones(len(found[0]), dtype=torch.bool, device=found[0].device)
    features = found + [torch.zeros_like(found[0])] * empty
    return features, [seen] * len(found) + [torch.zeros_like(seen)] * empty
