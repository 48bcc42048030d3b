"""The Prophet: predicts future world latents from past ones, without seeing the action."""

import torch
from torch import Tensor, nn
from torch.nn import functional

HYPOTHESIS_NOISE = 0.1
"""Standard deviation of the noise on the query slots of hypotheses; latents have 1."""


class ProphetLayer(nn.Module):
    """A pre-norm transformer layer of which only the last places are wanted, and computed.

    `width`: D, a multiple of ``heads``. `dropout`: of the two residual branches.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.attention_norm, self.feedforward_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 2 * width, bias=False)
        self.down = nn.Linear(2 * width, width, bias=False)

    def forward(self, tokens: Tensor, wanted: int) -> Tensor:
        """tokens (B, L, D) -> the last ``wanted`` of them after the layer (B, wanted, D)."""
        split = self.query_key_value(self.attention_norm(tokens)).unflatten(-1, (3, self.heads, -1))
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        context = functional.scaled_dot_product_attention(query[:, :, -wanted:], key, value)
        context = context.transpose(1, 2).flatten(2)
        tokens = tokens[:, -wanted:] + self._drop(self.output(context))
        widened = functional.relu(self.up(self.feedforward_norm(tokens)))
        return tokens + self._drop(self.down(widened))

    def _drop(self, branch: Tensor) -> Tensor:
        return functional.dropout(branch, self.dropout, self.training) if self.dropout else branch


class Prophet(nn.Module):
    """``z_{t-T+1..t} -> z^_{t+1..t+K}``: K learned query slots behind the history, a pre-norm
    transformer, read at the slots.

    `width`: latent width D, a multiple of ``heads``. `history`: T latents. `horizon`: K latents.
    """

    def __init__(
        self, width: int, history: int, horizon: int, layers: int, heads: int, dropout: float
    ) -> None:
        super().__init__()
        self.horizon, self.dropout = horizon, dropout
        self.slots = nn.Parameter(0.02 * torch.randn(horizon, width))
        self.position = nn.Parameter(0.02 * torch.randn(history + horizon, width))
        self.layers = nn.ModuleList(ProphetLayer(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.readout = nn.Linear(width, width)

    def forward(
        self, history: Tensor, noise: Tensor | None = None, method: str = "noise"
    ) -> Tensor:
        """history (B, T, D) -> (B, K, D).

        `noise` (B, K, D), standard normal, makes this one of several hypotheses: added to the query
        slots, scaled by ``HYPOTHESIS_NOISE``, or, with `method` ``dropout``, deciding which of
        their features are dropped.
        """
        slots = self.slots.expand(history.shape[0], -1, -1)
        tokens = torch.cat([history, slots], dim=1) + self.position
        if noise is not None:
            varied = tokens[:, -self.horizon :]
            if method == "dropout":
                kept = torch.special.ndtr(noise) >= self.dropout
                varied = varied * kept / (1 - self.dropout)
            else:
                varied = varied + HYPOTHESIS_NOISE * noise
            tokens = torch.cat([tokens[:, : -self.horizon], varied], dim=1)
        for number, layer in enumerate(self.layers, 1):
            tokens = layer(tokens, self.horizon if number == len(self.layers) else tokens.shape[1])
        return self.readout(self.norm(tokens[:, -self.horizon :]))


class ImaginationBank(nn.Module):
    """N hypotheses of the future: one Prophet varied by ``dropout`` or ``noise``, or an
    ``ensemble`` of N Prophets, whose arguments follow `hypotheses` (N) and `method`."""

    def __init__(
        self,
        hypotheses: int,
        method: str,
        width: int,
        history: int,
        horizon: int,
        layers: int,
        heads: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.hypotheses, self.method, self.horizon = hypotheses, method, horizon
        count = hypotheses if method == "ensemble" else 1
        self.prophets = nn.ModuleList(
            Prophet(width, history, horizon, layers, heads, dropout) for _ in range(count)
        )

    @property
    def needs_noise(self) -> bool:
        """Whether the hypotheses differ by noise that the caller draws."""
        return self.hypotheses > 1 and self.method != "ensemble"

    def forward(self, history: Tensor, noise: Tensor | None = None) -> Tensor:
        """history (B, T, D), noise (B, N K, D) where ``needs_noise`` -> (B, N, K, D)."""
        if self.method == "ensemble":
            return torch.stack([prophet(history) for prophet in self.prophets], dim=1)
        (prophet,) = self.prophets
        if not self.needs_noise:
            return prophet(history)[:, None]
        assert noise is not None, "a bank of hypotheses needs noise"
        every = history.repeat_interleave(self.hypotheses, 0)
        apart = noise.unflatten(1, (self.hypotheses, self.horizon)).flatten(0, 1)
        return prophet(every, apart, self.method).unflatten(0, (-1, self.hypotheses))


def cosine_per_step(prediction: Tensor, target: Tensor) -> Tensor:
    """Cosine similarity (..., K) of predicted and true latents (..., K, D)."""
    norm = torch.linalg.vector_norm
    lengths = norm(prediction, dim=-1) * norm(target, dim=-1)
    return (prediction * target).sum(-1) / lengths.clamp_min(1e-6)


def world_loss(cosine: Tensor, valid: Tensor) -> Tensor:
    """1 - cosine (..., K), averaged per sample over the future steps that lie inside the episode,
    by `valid` (..., K) bool: (...,); 0 without any."""
    inside = valid.to(cosine.dtype)
    return ((1 - cosine) * inside).sum(-1) / inside.sum(-1).clamp_min(1)


def bank_loss(
    bank: Tensor, target: Tensor, valid: Tensor, best_of_n: bool
) -> tuple[Tensor, Tensor]:
    """World loss (B,) of a bank (B, N, K, D) and the cosines (B, K) that it is made of.

    With ``best_of_n`` those of each sample's best hypothesis, so that they may spread over several
    Of each sample's best hypothesis with ``best_of_n``, so that they may spread over several
    """
    if bank.shape[1] == 1 or not best_of_n:
        cosine = cosine_per_step(bank.mean(1) if bank.shape[1] > 1 else bank[:, 0], target)
        return world_loss(cosine, valid), cosine
    cosine = cosine_per_step(bank, target[:, None].expand_as(bank))
    losses = world_loss(cosine, valid[:, None].expand_as(cosine))
    best = losses.argmin(1)
    sample = torch.arange(len(best), device=best.device)
    return losses[sample, best], cosine[sample, best]
