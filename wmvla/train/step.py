"""One optimizer step: loss, gradients, clipping, update, and what is logged of it, all without a copy to the host."""

from typing import Any

import torch
from accelerate import Accelerator
from lerobot.policies.pretrained import PreTrainedPolicy
from torch import Tensor, nn

from wmvla.recipe import Training
from wmvla.train.batches import StepBatch
from wmvla.train.metrics import flat

Parts = tuple[list[nn.Parameter], dict[str, list[nn.Parameter]]]


def parameter_groups(policy: PreTrainedPolicy) -> Parts:
    """Trainable parameters: SmolVLA's, and the world parts' by name (none for a plain SmolVLA).

    Non-obvious: their gradients are clipped apart. One common norm would let the world parts' gradients shrink SmolVLA's, and
    an arm with a closed gate would no longer be the baseline.
    """
    world = policy.world_parameters() if hasattr(policy, "world_parameters") else {}
    added = {id(p) for part in world.values() for p in part}
    return [p for p in policy.parameters() if p.requires_grad and id(p) not in added], world


def clip(own: list[nn.Parameter], world: dict[str, list[nn.Parameter]], most: float) -> dict[str, Tensor]:
    """Clip the gradients of SmolVLA and of the world parts, each to the norm ``most``; the norms before, by name.

    Non-obvious: this is ``torch.nn.utils.clip_grad_norm_`` on both, without its sorting by device and type, which for
    short lists takes longer than the norms.
    """
    gradients = {name: [p.grad for p in part if p.grad is not None] for name, part in {"grad_norm": own, **world}.items()}
    norms = {name: torch.stack(torch._foreach_norm(part)).norm() for name, part in gradients.items()}
    together = torch.stack([norms[name] for name in world]).norm() if world else None
    for name, part in gradients.items():
        norm = norms[name] if name == "grad_norm" else together
        assert norm is not None
        torch._foreach_mul_(part, (most / (norm + 1e-6)).clamp(max=1.0))
    return norms


def make_optimizer(parts: Parts, training: Training) -> torch.optim.Optimizer:
    """AdamW over the trainable parameters."""
    own, world = parts
    return torch.optim.AdamW(
        [*own, *(p for part in world.values() for p in part)],
        lr=training.learning_rate,
        betas=(training.adam_beta1, training.adam_beta2),
        weight_decay=training.weight_decay,
        fused=True,  # one pass over all weights: on two cores half the time of the default
    )


def optimize(
    model: nn.Module,
    policy: PreTrainedPolicy,
    parts: Parts,
    optimizer: torch.optim.Optimizer,
    fed: StepBatch,
    clip_norm: float,
    accelerator: Accelerator,
) -> dict[str, Tensor]:
    """One step of ``optimizer`` on the batch; the step's values, averaged over the processes.

    Args:
        model: ``policy`` as accelerate prepared it. parts: its ``parameter_groups``.
    """
    per_sample, details = model(fed.batch, fed.noise, fed.time, "none")
    loss, values = combine(per_sample, details, fed.weight, policy)
    accelerator.backward(loss)
    norms = clip(*parts, clip_norm)
    optimizer.step()
    optimizer.zero_grad()
    return average(values, accelerator) | logged_norms(norms, policy)


def combine(
    per_sample: Tensor, details: dict[str, Any], weight: Tensor, policy: PreTrainedPolicy
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of this process's slice, and what is logged: weighted action loss plus the mean world loss."""
    action = (details.get("action_loss_per_sample", per_sample) * weight).sum()
    if "world_loss_per_sample" not in details:
        return action, {"loss_total": action.detach(), "action_loss": action.detach()}
    world = details["world_loss_per_sample"].mean()
    loss = action + policy.config.lambda_world * world
    logged = {key: value for key, value in details.items() if not key.endswith("_per_sample")}
    return loss, {"loss_total": loss.detach(), "action_loss": action.detach(), "world_loss": world.detach(), **logged}


def average(values: dict[str, Tensor], accelerator: Accelerator) -> dict[str, Tensor]:
    """Averages over the processes, in one reduction and as tensors: nothing is copied to the host here.

    Non-obvious: a slice with few futures inside their episodes must not weigh as much in the cosines as the others.
    """
    if accelerator.num_processes == 1:
        return values
    share = values.get("world_valid_k")
    if share is not None:
        values = values | {"world_cos_k": values["world_cos_k"] * share}
    reduced = accelerator.reduce(flat(values), reduction="mean").split([value.numel() for value in values.values()])
    mean = {name: part.view(value.shape) for (name, value), part in zip(values.items(), reduced, strict=True)}
    if share is not None:
        sums, share = mean["world_cos_k"], mean["world_valid_k"]
        mean["world_cos"] = sums.sum() / share.sum().clamp_min(1e-6)
        mean["world_cos_k"] = sums / share.clamp_min(1e-6)
    return mean


def logged_norms(norms: dict[str, Tensor], policy: PreTrainedPolicy) -> dict[str, Tensor]:
    """The gradient norms that the policy's configuration wants logged; gradients are the same in all processes already."""
    wanted = getattr(policy.config, "log_grad_stats", True)
    return {name: norm.detach() for name, norm in norms.items() if wanted or name == "grad_norm"}
