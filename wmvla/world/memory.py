"""Memory modes: what fills the world memory in training and in rollouts."""

import torch
from torch import Tensor

TRAINING_MODES = ("pred", "zero")
"""``pred``: the Prophet's prediction. ``zero``: zeros (the capacity control)."""

ROLLOUT_MODES = ("pred", "zero", "random")
"""``pred`` and ``zero`` as in training. ``random``: standard normal noise in the standardised latent space, which
has the scale of real latents and none of their content."""


def future_from_delta(history: Tensor, prediction: Tensor, delta: bool) -> Tensor:
    """The predicted future latents (B, K, D), from the Prophet's output for ``history`` (B, T, D)."""
    return history[:, -1:] + prediction if delta else prediction


def random_memory(shape: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
    """Noise (B, K, D) on the CPU, so that a seed gives the same memory whatever the device."""
    return torch.randn(shape, generator=generator)
