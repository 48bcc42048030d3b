"""Memory modes: what fills the world memory in training and in rollouts."""

import torch
from torch import Tensor


def hold(history: Tensor, tokens: int) -> Tensor:
    """The present latent of ``history`` (B, T, D) in all of ``tokens`` places: (B, M, D)."""
    return history[:, -1:].expand(-1, tokens, -1)


def spread(latents: Tensor, tokens: int) -> Tensor:
    """``latents`` (B, T, D) evenly over ``tokens`` places (B, M, D) in order, the last one last."""
    place = torch.arange(1, tokens + 1, device=latents.device)
    return latents[:, (place * latents.shape[1] - 1) // tokens]


def another_sample(batch: int, generator: torch.Generator | None) -> Tensor:
    """For each sample of a batch (B,) the number of another one, drawn as one random cycle."""
    order = torch.randperm(batch, generator=generator)
    other = torch.empty_like(order)
    other[order] = order.roll(1)
    return other


def random_memory(shape: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
    """Noise (B, M, D) on the CPU, so that a seed gives the same memory whatever the device."""
    return torch.randn(shape, generator=generator)
