"""The Prophet: predicts future world latents from past ones, without seeing the action."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Prophet(nn.Module):
    """``z_{t-T+1..t} -> z^_{t+1..t+K}``: K learned query slots behind the history, a pre-norm transformer, read at the slots.

    Args:
        width: latent width D; a multiple of ``heads``.
        history: latents seen, T.
        horizon: latents predicted, K.
    """

    def __init__(self, width: int, history: int, horizon: int, layers: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.horizon = horizon
        self.slots = nn.Parameter(0.02 * torch.randn(horizon, width))
        self.position = nn.Parameter(0.02 * torch.randn(history + horizon, width))
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, dropout, "gelu", batch_first=True, norm_first=True)
        # Nested tensors only speed up padded batches and warn with norm_first.
        self.encoder = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.readout = nn.Linear(width, width)

    def forward(self, history: Tensor) -> Tensor:
        """(B, T, D) -> (B, K, D)."""
        slots = self.slots.expand(history.shape[0], -1, -1)
        tokens = torch.cat([history, slots], dim=1) + self.position
        return self.readout(self.encoder(tokens)[:, -self.horizon :])


def cosine_per_step(prediction: Tensor, target: Tensor) -> Tensor:
    """Cosine similarity (B, K) of predicted and true latents (B, K, D)."""
    return functional.cosine_similarity(prediction, target, dim=-1, eps=1e-6)


def world_loss(cosine: Tensor, valid: Tensor) -> Tensor:
    """1 - cosine, averaged per sample over the future steps that lie inside the episode.

    Args:
        cosine: (B, K). valid: (B, K) bool.

    Returns:
        (B,); 0 for a sample with no future inside its episode.
    """
    inside = valid.to(cosine.dtype)
    return ((1 - cosine) * inside).sum(1) / inside.sum(1).clamp_min(1)
