"""What a training step logs about the memory: detached tensors on their device, no host copy."""

import torch
from torch import Tensor

from wmvla.policy.fusion import WorldFusion


@torch.no_grad()
def memory_diagnostics(
    fusion: WorldFusion, history: Tensor, future: Tensor, cosine: Tensor, valid: Tensor
) -> dict[str, Tensor]:
    """The quantities of PROTOCOL.md, scalars () unless noted, of standardised history (B, T, D) and
    future (B, K, D), cosine (B, K), valid (B, K); norms are mean Euclidean norms per latent.

    ``world_cos_k`` and ``world_valid_k`` (K,): mean cosine of the futures inside their episodes,
    and their share of the batch, per step ahead. If ``fusion`` watched a cross-attention (F3a has
    none) also its entropy, largest weight and ``world_attn_k`` (K,), the mass per step ahead,
    summed over the hypotheses.
    """
    inside = valid.float()
    share = inside.mean(0)
    sums = (cosine.float() * inside).mean(0)
    details = {
        "world_cos": sums.sum() / share.sum().clamp_min(1e-6),
        "world_cos_k": sums / share.clamp_min(1e-6),
        "world_valid_k": share,
        "world_valid_frac": share.mean(),
        "world_mem_norm": _norm(fusion.seen()),
        "world_z_hist_norm": _norm(history),
        "world_z_future_norm": _norm(future),
        **fusion.gates(),
    }
    if fusion.watched is not None:
        hidden, context, weights = fusion.watched
        weights = weights.float()
        details |= {
            "world_attn_entropy": torch.special.entr(weights).sum(-1).mean(),
            "world_attn_pmax": weights.amax(-1).mean(),
            "world_attn_k": weights.mean((0, 1, 2)).unflatten(0, (-1, future.shape[1])).sum(0),
            "world_ctx_norm": _norm(context),
            "world_act_norm": _norm(hidden),
        }
    return details


def as_floats(details: dict[str, Tensor]) -> dict[str, float]:
    """Scalars by name, entries of a vector by name and place from 1; one copy to the host."""
    names = [
        name if value.ndim == 0 else f"{name}/{place}"
        for name, value in details.items()
        for place in range(1, value.numel() + 1)
    ]
    flat = torch.cat([value.detach().float().reshape(-1) for value in details.values()])
    return dict(zip(names, flat.tolist(), strict=True))


def _norm(vectors: Tensor) -> Tensor:
    return torch.linalg.vector_norm(vectors, dim=-1, dtype=torch.float32).mean()
