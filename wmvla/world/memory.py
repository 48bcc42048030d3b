"""Memory modes: what fills the world memory in training and in rollouts."""

import torch
from torch import Tensor

TRAINING_MODES = ("pred", "oracle", "zero", "shuffle", "random", "history")
"""``pred``: the Prophet's prediction. ``oracle``: the true future (an upper bound). ``zero``: zeros (the capacity control).
``shuffle``: another sample's future. ``random``: noise. ``history``: the past latents that the Prophet sees."""

ROLLOUT_MODES = ("pred", "zero", "random", "hold", "history")
"""``hold``: the present latent in every place, that is, a future in which nothing changes. The others as in training.
``random`` is standard normal noise in the standardised latent space: the scale of real latents and none of their content."""

REFUSED_IN_ROLLOUTS = {
    "oracle": "in a live rollout the future is not known yet",
    "shuffle": "a live rollout has no other sample whose future could be taken",
}
"""Training modes that no rollout can have, and why."""

FRAME_MODES = frozenset({"pred", "hold", "history"})
"""Rollout modes that read camera frames."""


def hold(history: Tensor, tokens: int) -> Tensor:
    """The present latent of ``history`` (B, T, D) in all of ``tokens`` places: (B, M, D)."""
    return history[:, -1:].expand(-1, tokens, -1)


def spread(latents: Tensor, tokens: int) -> Tensor:
    """``latents`` (B, T, D) in order over ``tokens`` places: (B, M, D). With T = 4 and M = 8 each fills two."""
    position = torch.linspace(0, latents.shape[1] - 1, tokens, device=latents.device).round().long()
    return latents[:, position]


def another_sample(batch: int, generator: torch.Generator | None) -> Tensor:
    """For each sample of a batch (B,) the number of another one, drawn as one random cycle: none stays in its place."""
    order = torch.randperm(batch, generator=generator)
    other = torch.empty_like(order)
    other[order] = order.roll(1)
    return other


def random_memory(shape: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
    """Noise (B, M, D) on the CPU, so that a seed gives the same memory whatever the device."""
    return torch.randn(shape, generator=generator)
