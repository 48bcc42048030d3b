"""One optimizer step, loss to update, and what is logged of it, without a copy to the host."""

from typing import Any

import torch
from accelerate import Accelerator
from lerobot.policies.pretrained import PreTrainedPolicy
from torch import Tensor, nn

from wmvla.recipe import Training
from wmvla.train.batches import StepBatch, cut
from wmvla.train.finite import all_finite
from wmvla.train.metrics import flat
from wmvla.train.prepared import Prepared

OWN = "grad_norm"
"""Name of SmolVLA's own parameters among ``parameter_groups``, and of their gradient's norm."""


def parameter_groups(policy: PreTrainedPolicy) -> dict[str, list[nn.Parameter]]:
    """Trainable parameters: SmolVLA's as ``OWN``, and the world parts' by name, if any.

    Non-obvious: their gradients are clipped apart. One common norm would let the world parts'
    gradients shrink SmolVLA's, and an arm with a closed gate would no longer be the baseline.
    """
    world = policy.world_parameters() if hasattr(policy, "world_parameters") else {}
    added = {id(p) for part in world.values() for p in part}
    own = [p for p in policy.parameters() if p.requires_grad and id(p) not in added]
    return {OWN: own, **world}


def clip(
    gradients: dict[str, list[Tensor]], most: float, accelerator: Accelerator | None = None
) -> dict[str, Tensor]:
    """Clip the gradients of SmolVLA and of the world parts (``parameter_groups``), each to the norm
    ``most``; the norms before, by name. ``accelerator``: of processes that each have a share of
    the gradients; None: they are whole.

    Non-obvious: this is ``torch.nn.utils.clip_grad_norm_`` on both, without its sorting by device
    and type, which for short lists takes longer than the norms.
    """
    norms = {
        name: torch.stack(torch._foreach_norm(part)).norm() for name, part in gradients.items()
    }
    if accelerator is not None:
        squares = accelerator.reduce(torch.stack(list(norms.values())).square(), reduction="sum")
        norms = dict(zip(norms, squares.sqrt(), strict=True))
    world = [norm for name, norm in norms.items() if name != OWN]
    together = torch.stack(world).norm() if world else None
    for name, part in gradients.items():
        norm = norms[name] if name == OWN else together
        assert norm is not None
        torch._foreach_mul_(part, (most / (norm + 1e-6)).clamp(max=1.0))
    return norms


def make_optimizer(
    groups: dict[str, list[nn.Parameter]], training: Training, apart: bool = False
) -> torch.optim.Optimizer:
    """AdamW over the trainable parameters, in one group or, ``apart``, in ``parameter_groups``."""
    parts = [{"params": group} for group in groups.values()]
    return torch.optim.AdamW(
        parts if apart else [p for group in groups.values() for p in group],
        lr=training.learning_rate,
        betas=(training.adam_beta1, training.adam_beta2),
        weight_decay=training.weight_decay,
        fused=True,  # one pass over all weights: on two cores half the time of the default
    )


def optimize(
    prepared: Prepared,
    policy: PreTrainedPolicy,
    fed: StepBatch,
    clip_norm: float,
    accelerator: Accelerator,
    accumulation_steps: int = 1,
) -> tuple[dict[str, Tensor], Tensor]:
    """One optimizer step on the batch, worked off in ``accumulation_steps`` parts: its values,
    averaged over the processes, and whether they and all gradients are finite: () bool, the same in
    every process."""
    logged = []
    for number, part in enumerate(cut(fed, accumulation_steps), 1):
        last = number == accumulation_steps
        with prepared.part(last):
            per_sample, details = prepared.model(part.batch, part.noise, part.time, "none")
            loss, values = combine(per_sample, details, part.weight, policy)
            prepared.backward(loss / accumulation_steps if accumulation_steps > 1 else loss, last)
        logged.append(values)
    norms = clip(prepared.gradients(), clip_norm, accelerator if prepared.sharded else None)
    prepared.step()
    values = average(logged, accelerator)
    return values | logged_norms(norms, policy), all_finite(values | norms)


def combine(
    per_sample: Tensor, details: dict[str, Any], weight: Tensor, policy: PreTrainedPolicy
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of some samples, and what is logged: weighted action loss plus mean world loss."""
    action = (details.get("action_loss_per_sample", per_sample) * weight).sum()
    if "world_loss_per_sample" not in details:
        return action, {"loss_total": action.detach(), "action_loss": action.detach()}
    world = details["world_loss_per_sample"].mean()
    loss = action + policy.config.lambda_world * world
    logged = {key: value for key, value in details.items() if not key.endswith("_per_sample")}
    losses = {"loss_total": loss, "action_loss": action, "world_loss": world}
    return loss, {key: value.detach() for key, value in losses.items()} | logged


def average(parts: list[dict[str, Tensor]], accelerator: Accelerator) -> dict[str, Tensor]:
    """Averages over the parts of a batch and the processes, in one reduction, without host copies.

    Non-obvious: in the cosines, parts with few futures inside their episodes must weigh less.
    """
    first = parts[0]
    if len(parts) == accelerator.num_processes == 1:
        return first
    weighted = "world_valid_k" in first
    if weighted:
        parts = [
            values | {"world_cos_k": values["world_cos_k"] * values["world_valid_k"]}
            for values in parts
        ]
    vector = torch.stack([flat(values) for values in parts]).mean(0)
    reduced = accelerator.reduce(vector, reduction="mean")
    split = reduced.split([value.numel() for value in first.values()])
    mean = {
        name: part.view(value.shape)
        for (name, value), part in zip(first.items(), split, strict=True)
    }
    if weighted:
        sums, share = mean["world_cos_k"], mean["world_valid_k"]
        mean["world_cos"] = sums.sum() / share.sum().clamp_min(1e-6)
        mean["world_cos_k"] = sums / share.clamp_min(1e-6)
    return mean


def logged_norms(norms: dict[str, Tensor], policy: PreTrainedPolicy) -> dict[str, Tensor]:
    """The gradient norms to be logged by the configuration, the same in all processes already."""
    wanted = getattr(policy.config, "log_grad_stats", True)
    return {name: norm.detach() for name, norm in norms.items() if wanted or name == OWN}
