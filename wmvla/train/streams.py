"""Every random number of a training run, a function of (seed, step), never of what ran before.

So a resumed run continues exactly, and the samples, their augmentation and their noise do not
depend on how many processes share the batch: each process draws the numbers of the whole batch and
takes its slice.
"""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from wmvla.streams import generator


def batch_rows(seed: int, step: int, batch_size: int, rows: int) -> np.ndarray:
    """Dataset rows (batch_size,) of one optimizer step: each epoch has its own random order."""
    position = np.arange(step * batch_size, (step + 1) * batch_size)
    epochs, offsets = position // rows, position % rows
    picked = np.empty(batch_size, np.int64)
    for epoch in np.unique(epochs):
        picked[epochs == epoch] = _order(seed, int(epoch), rows)[offsets[epochs == epoch]]
    return picked


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, rows: int) -> np.ndarray:
    """The order of one epoch, kept: drawn for each step, LIBERO's would cost minutes."""
    return torch.randperm(rows, generator=generator("order", seed, epoch)).numpy()


def flow_noise(
    draws: torch.Generator, batch_size: int, chunk: int, width: int
) -> tuple[Tensor, Tensor]:
    """Noise (B, chunk, width) and time (B,) of flow matching, distributed as in SmolVLA.

    SmolVLA's time is 0.999 x + 0.001 with x ~ Beta(1.5, 1), whose inverse distribution function is
    u^(1 / 1.5).
    """
    noise = torch.randn(batch_size, chunk, width, generator=draws)
    uniform = torch.rand(batch_size, generator=draws)
    return noise, uniform.pow(1 / 1.5) * 0.999 + 0.001


def image_shifts(draws: torch.Generator, batch_size: int, cameras: int, most: int) -> Tensor:
    """Integer shifts (B, cameras, 2) in pixels, each in [-most, most]."""
    return torch.randint(-most, most + 1, (batch_size, cameras, 2), generator=draws)


def shift_images(images: Tensor, shifts: Tensor) -> Tensor:
    """Images (B, C, H, W) moved by shifts (B, 2) in (y, x) pixels; edge pixels repeat."""
    _, _, height, width = images.shape
    shifts = shifts.to(images.device)
    y = (torch.arange(height, device=images.device) + shifts[:, :1]).clamp(0, height - 1)
    x = (torch.arange(width, device=images.device) + shifts[:, 1:]).clamp(0, width - 1)
    sample = torch.arange(len(images), device=images.device)[:, None, None]
    return images.permute(0, 2, 3, 1)[sample, y[:, :, None], x[:, None, :]].permute(0, 3, 1, 2)
