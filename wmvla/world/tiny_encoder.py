"""World encoders small enough for two cores, with random weights from a seed: a V-JEPA 2 and a
DINOv2 folder.

They stand where ``facebook/vjepa2-vitg-fpc64-256`` and ``facebook/dinov2-base`` stand at full
scale. Random weights still make distinct latents of distinct clips; what they know about the world
is nothing, and reports at this scale say so.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from transformers import (
    BitImageProcessor,
    Dinov2Config,
    Dinov2Model,
    PreTrainedModel,
    VJEPA2Config,
    VJEPA2Model,
    VJEPA2VideoProcessor,
)

from wmvla.files import new_folder
from wmvla.recipe import World

PATCH = 16


def make_tiny_encoder(folder: Path, world: World, image_size: int) -> Path:
    """Write a tiny V-JEPA 2 (config, random weights, video processor) to ``folder`` and return
    it."""
    config = VJEPA2Config.from_dict(
        {
            "crop_size": image_size,
            "frames_per_clip": world.window,
            "tubelet_size": 2,
            "patch_size": PATCH,
            "hidden_size": world.encoder_hidden,
            "num_attention_heads": world.encoder_heads,
            "num_hidden_layers": world.encoder_layers,
            "pred_hidden_size": world.encoder_hidden,
            "pred_num_attention_heads": world.encoder_heads,
            "pred_num_hidden_layers": 1,
            "pred_num_mask_tokens": 1,
        }
    )
    return _write(
        folder,
        lambda: VJEPA2Model(config),
        VJEPA2VideoProcessor(crop_size=image_size),
        world.encoder_seed,
    )


def make_tiny_dinov2(folder: Path, world: World, image_size: int) -> Path:
    """Write a tiny DINOv2 (config, random weights, image processor) to ``folder`` and return it."""
    config = Dinov2Config.from_dict(
        {
            "image_size": image_size,
            "patch_size": PATCH,
            "hidden_size": world.encoder_hidden,
            "num_attention_heads": world.encoder_heads,
            "num_hidden_layers": world.encoder_layers,
        }
    )
    # facebook/dinov2-base: shortest edge to 256, then the middle 224
    processor = BitImageProcessor(
        size={"shortest_edge": int(image_size * 256 / 224)},
        crop_size={"height": image_size, "width": image_size},
    )
    return _write(folder, lambda: Dinov2Model(config), processor, world.encoder_seed)


def _write(
    folder: Path,
    make: Callable[[], PreTrainedModel],
    processor: VJEPA2VideoProcessor | BitImageProcessor,
    seed: int,
) -> Path:
    if folder.exists():
        return folder
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = make()
    with new_folder(folder) as unfinished:
        model.save_pretrained(unfinished)
        processor.save_pretrained(unfinished)
    return folder
