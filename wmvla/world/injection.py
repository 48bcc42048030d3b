"""Gated cross-attention: how the memory reaches the action expert's hidden states."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class GatedCrossAttention(nn.Module):
    """``h <- h + tanh(g) * CrossAttn(h, proj(memory))``, with the gate ``g`` starting at ``gate``.

    Non-obvious: at ``g = 0`` the output equals ``h`` bit for bit, and still ``g`` gets a gradient, because the attention is
    computed. Skipping it at a closed gate in training would keep the gate closed for ever. The gate has shape (1,):
    DeepSpeed fails on 0-dimensional parameters.

    Args:
        width: hidden width H of the action expert; a multiple of ``heads``.
        memory_width: latent width D.
        horizon: memory tokens K.
    """

    def __init__(self, width: int, memory_width: int, horizon: int, heads: int, gate: float) -> None:
        super().__init__()
        self.heads = heads
        self.gate = nn.Parameter(torch.full((1,), float(gate)))
        self.hidden_norm = nn.LayerNorm(width)
        self.memory_norm = nn.LayerNorm(width)
        self.memory_proj = nn.Linear(memory_width, width)
        self.slots = nn.Parameter(0.02 * torch.randn(horizon, width))
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.output = nn.Linear(width, width)

    def forward(self, hidden: Tensor, memory: Tensor) -> Tensor:
        """hidden (B, S, H), memory (B, K, D) -> (B, S, H)."""
        batch, length, width = hidden.shape
        tokens = self.memory_norm(self.memory_proj(memory) + self.slots)
        query = self.query(self.hidden_norm(hidden))
        key, value = self.key_value(tokens).chunk(2, dim=-1)
        query, key, value = (x.view(batch, -1, self.heads, width // self.heads).transpose(1, 2) for x in (query, key, value))
        context = functional.scaled_dot_product_attention(query, key, value)
        context = self.output(context.transpose(1, 2).reshape(batch, length, width))
        return hidden + torch.tanh(self.gate) * context
