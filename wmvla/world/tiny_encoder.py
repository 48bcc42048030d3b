"""A V-JEPA 2 small enough for two cores, with random weights from a seed.

It stands where ``facebook/vjepa2-vitg-fpc64-256`` stands at full scale. Random weights still make
distinct latents of distinct clips; they know nothing about the world, and reports at this scale say
so.
"""

from pathlib import Path

import torch
from transformers import VJEPA2Config, VJEPA2Model, VJEPA2VideoProcessor

from wmvla.files import new_folder
from wmvla.recipe import World

PATCH = 16


def make_tiny_encoder(folder: Path, world: World, image_size: int) -> Path:
    """Write a tiny V-JEPA 2 (config, random weights, video processor) to ``folder``, its result."""
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
    if folder.exists():
        return folder
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(world.encoder_seed)
        model = VJEPA2Model(config)
    with new_folder(folder) as unfinished:
        model.save_pretrained(unfinished)
        VJEPA2VideoProcessor(crop_size=image_size).save_pretrained(unfinished)
    return folder
