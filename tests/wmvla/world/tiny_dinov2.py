"""A DINOv2 small enough for tests, with random weights from a seed."""

from pathlib import Path

import torch
from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

from wmvla.recipe import World


def make_tiny_dinov2(folder: Path, world: World, image_size: int) -> Path:
    """Write configuration, weights and image processor to ``folder`` and return it."""
    config = Dinov2Config(
        image_size=image_size,
        patch_size=16,
        hidden_size=world.encoder_hidden,
        num_attention_heads=world.encoder_heads,
        num_hidden_layers=world.encoder_layers,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(world.encoder_seed)
        Dinov2Model(config).save_pretrained(folder)
    # facebook/dinov2-base: shortest edge to 256, then the middle 224
    BitImageProcessor(
        size={"shortest_edge": int(image_size * 256 / 224)},
        crop_size={"height": image_size, "width": image_size},
    ).save_pretrained(folder)
    return folder
