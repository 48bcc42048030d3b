"""Gated cross-attention: how the memory reaches hidden states, at any fusion point."""

import torch
from torch import Tensor, nn
from torch.nn import functional

WATCHED = 8
"""Samples of a batch whose attention weights are logged; all would cost a twentieth of a step."""


class GatedCrossAttention(nn.Module):
    """``h <- h + tanh(g) * CrossAttn(h, proj(memory))``, with the gate ``g`` starting at ``gate``.

    Non-obvious: at ``g = 0`` the output equals ``h`` bit for bit, and still ``g`` gets a gradient,
    because the attention is computed. Skipping it at a closed gate in training would keep the gate
    closed for ever. The gate has shape (1,): DeepSpeed fails on 0-dimensional parameters.

    `width`: H, a multiple of ``heads``. `memory_width`: D. `tokens`: latents in the memory, M.
    """

    def __init__(self, width: int, memory_width: int, tokens: int, heads: int, gate: float) -> None:
        super().__init__()
        self.heads = heads
        self.gate = nn.Parameter(torch.full((1,), float(gate)))
        self.hidden_norm = nn.LayerNorm(width)
        self.memory_norm = nn.LayerNorm(width)
        self.memory_proj = nn.Linear(memory_width, width, bias=False)
        self.slots = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.output = nn.Linear(width, width, bias=False)

    def forward(
        self, hidden: Tensor, memory: Tensor, watch: bool = False
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """hidden (B, S, H), memory (B, M, D) -> (B, S, H) and, for the log, the context (B, S, H)
        and, with ``watch``, the weights (up to ``WATCHED``, heads, S, M) of the first samples,
        without gradient: computed apart, for the fused kernel keeps them to itself."""
        tokens = self.memory_norm(self.memory_proj(memory) + self.slots)
        query = self._split(self.query(self.hidden_norm(hidden.to(self.gate))))
        key, value = map(self._split, self.key_value(tokens).chunk(2, dim=-1))
        attended = functional.scaled_dot_product_attention(query, key, value)
        context = self.output(attended.transpose(1, 2).flatten(2))
        weights = self._weights(query[:WATCHED].detach(), key[:WATCHED].detach()) if watch else None
        return hidden + (torch.tanh(self.gate) * context).to(hidden), context, weights

    def _weights(self, query: Tensor, key: Tensor) -> Tensor:
        """The softmax that the fused kernel applies (B, heads, S, M)."""
        return (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).float().softmax(-1)

    def _split(self, tokens: Tensor) -> Tensor:
        """(B, L, H) -> (B, heads, L, H / heads)."""
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class PrefixTokens(nn.Module):
    """World tokens (F3a): the first `tokens` latents of the memory (D = `memory_width`), projected
    to the `width` of the prefix."""

    def __init__(self, width: int, memory_width: int, tokens: int, gate: float) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.full((1,), float(gate)))
        self.proj = nn.Linear(memory_width, width)
        self.slots = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.norm = nn.LayerNorm(width)

    def forward(self, memory: Tensor) -> Tensor:
        """memory (B, M, D) -> (B, tokens, width)."""
        return self.norm(self.proj(memory[:, : len(self.slots)]) + self.slots)


def gated_tokens(
    output: Tensor, scores: Tensor, values: Tensor, normaliser: Tensor, gate: Tensor
) -> Tensor:
    """Attention over tokens that count with weight ``m = tanh(g)``, joined to attention over the
    others.

    With ``r_j = exp(s_j - L)`` for the gated tokens, where ``L`` is the log of the softmax's sum
    over the other tokens, the joint output is ``(output + m sum_j r_j v_j) / (1 + |m| sum_j r_j)``:
    at m = 1 the plain softmax over all tokens.

    Non-obvious: multiplying the tokens themselves by the gate would do harm, for even a zero key
    takes its share of a softmax. Here m = 0 leaves ``output`` bit for bit as it was, and the gate's
    gradient there is that of the numerator.

    Args:
        output: attention over the other tokens (B, heads, Q, d).
        scores: of the gated tokens (B, heads, Q, n); -inf where one may not be seen. values: (B,
        heads, n, d).
        normaliser: L (B, heads, Q). gate: g (1,).
    """
    weight = torch.tanh(gate)
    # exp(30) is next to 1 as good as infinity, and stays finite in rows that see no other token.
    ratio = (scores - normaliser[..., None]).clamp(max=30).exp()
    return (output + weight * (ratio @ values)) / (1 + weight.abs() * ratio.sum(-1, keepdim=True))
