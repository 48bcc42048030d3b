"""Training and rollout see the same latents: window, width, camera, encoder and values match."""

from pathlib import Path

import numpy as np
import torch

from wmvla.data.dataset import open_data
from wmvla.policy.conversion import add_world
from wmvla.policy.modeling_smolvla_world import FRAMES
from wmvla.policy.processor_smolvla_world import latents_step
from wmvla.wiring.inputs import WiringInputs, expect
from wmvla.world.latents.cache import LatentCache, episode_bounds

TOLERANCE = 0.05
"""Largest accepted error (RMS) in standard deviations of latents; fp16 alone gives below 0.005."""


def check_latents(inputs: WiringInputs) -> dict[str, float | str]:
    """Latents that the rollout's path encodes from a few recorded frames are those of the cache:
    rows, width, window, and the error in standard deviations.

    A window mismatch cost the reference 20 to 40 points of success.
    """
    policy, _ = add_world(inputs.base, inputs.world, inputs.seed, inputs.device)
    config = policy.config
    cache = LatentCache(Path(latents_step(config).path), config.window, config.world_latent_dim)
    data = open_data(inputs.dataset_root, inputs.dataset_repo_id, config.chunk_size)
    rows = int(data.ends[-1])
    expect(
        len(cache.latents) == rows,
        f"{cache.path} has {len(cache.latents)} rows, the dataset {rows} frames",
    )
    std = cache.statistics()[1].numpy().clip(1e-6)
    worst = 0.0
    # The first frame, where the history is clamped, and two inside episodes.
    for row in (0, rows // 2, rows - 1):
        first = int(episode_bounds(data.ends, np.array([row]))[0][0])
        seen = np.maximum(first, np.arange(row - config.world_frames + 1, row + 1))
        batch = next(iter(data.batches([seen])))
        frames = torch.stack([batch[key] for key in config.world_camera_keys])[None]
        frames = frames.to(inputs.device)
        online = policy.encode_history({FRAMES: frames})[0].float().cpu().numpy()
        stored = cache.gather(np.array([row]), config.context_frames, config.future_offset)[0][0]
        error = float(np.sqrt((((online - stored) / std) ** 2).mean()))
        worst = max(worst, error)
        expect(
            error < TOLERANCE,
            f"{cache.path}: row {row} differs by {error:.2f} standard deviations from what a"
            f" rollout encodes with {config.world_vision_model_name}: other encoder, window, camera"
            " or preprocessing",
        )
    return {
        "rows": float(rows),
        "width": float(config.world_latent_dim),
        "window": float(config.window),
        "error_in_standard_deviations": worst,
    }
