"""The training loop on accelerate: one for every arm, resumable to the step, independent of the number of processes."""

import math
import time
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
from lerobot.policies.pretrained import PreTrainedPolicy
from torch import Tensor, nn

from wmvla.progress import Progress
from wmvla.recipe import Training
from wmvla.train.batches import step_batches
from wmvla.train.checkpoint import latest_step, load_optimizer_state, pretrained_folder, save_checkpoint
from wmvla.train.data import open_data, open_metadata
from wmvla.train.job import TrainingJob
from wmvla.train.metrics import MetricsFile, flat
from wmvla.train.start import start
from wmvla.train.trackers import check_trackers, log_to_trackers, start_trackers


def learning_rate(training: Training, step: int) -> float:
    """Linear warm-up, then a cosine to ``final_learning_rate_fraction`` at the last step; ``step`` counts from 0."""
    peak = training.learning_rate
    if step < training.warmup_steps:
        return peak * (step + 1) / training.warmup_steps
    done = (step - training.warmup_steps) / max(1, training.steps - training.warmup_steps)
    floor = training.final_learning_rate_fraction
    return peak * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done)))


def parameter_groups(policy: PreTrainedPolicy) -> tuple[list[nn.Parameter], dict[str, list[nn.Parameter]]]:
    """Trainable parameters: SmolVLA's, and the world parts' by name (none for a plain SmolVLA).

    Non-obvious: their gradients are clipped apart. One common norm would let the world parts' gradients shrink SmolVLA's, and
    an arm with a closed gate would no longer be the baseline.
    """
    world = policy.world_parameters() if hasattr(policy, "world_parameters") else {}
    added = {id(p) for part in world.values() for p in part}
    return [p for p in policy.parameters() if p.requires_grad and id(p) not in added], world


def clip(own: list[nn.Parameter], world: dict[str, list[nn.Parameter]], most: float) -> dict[str, Tensor]:
    """Clip the gradients of SmolVLA and of the world parts, each to the norm ``most``; the norms before, by name."""
    norms = {"grad_norm": nn.utils.clip_grad_norm_(own, most)}
    if world:
        norms |= {name: nn.utils.get_total_norm([p.grad for p in part]) for name, part in world.items()}
        together = torch.stack([norms[name] for name in world]).norm()
        nn.utils.clip_grads_with_norm_([p for part in world.values() for p in part], most, together)
    return norms


def train(job: TrainingJob) -> Path:
    """Run the job to its end, from its newest checkpoint, and return the final ``pretrained_model`` folder."""
    training, folder = job.training, Path(job.checkpoints)
    check_trackers(job.trackers)
    accelerator = Accelerator(
        cpu=job.device == "cpu",
        mixed_precision="bf16" if job.precision == "bf16" else "no",
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
        log_with=list(job.trackers) or None,
        project_dir=Path(job.metrics).parent,
    )
    first = latest_step(folder)
    if first >= training.steps:
        return pretrained_folder(folder, first)
    root = Path(job.dataset_root) if job.dataset_root else None
    metadata = open_metadata(root, job.dataset_repo_id)
    policy, processors = start(job, metadata, first, accelerator.device.type)
    policy.train()
    data = open_data(root, job.dataset_repo_id, policy.config.chunk_size)
    own, world = parameter_groups(policy)
    optimizer = torch.optim.AdamW(
        [{"params": group} for group in (own, [p for part in world.values() for p in part]) if group],
        lr=training.learning_rate,
        betas=(training.adam_beta1, training.adam_beta2),
        weight_decay=training.weight_decay,
    )
    if first:
        optimizer.load_state_dict(load_optimizer_state(folder, first))
    model, optimizer = accelerator.prepare(policy, optimizer)
    metrics = MetricsFile(Path(job.metrics), job.case, first) if accelerator.is_main_process else None
    progress = Progress(job.case, training.steps, first)
    start_trackers(accelerator, job)

    started = time.monotonic()
    batches = step_batches(job, data, processors[0], policy, first, accelerator)
    for step, fed in enumerate(batches, first):
        rate = learning_rate(training, step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        per_sample, details = model(fed.batch, fed.noise, fed.time, "none")
        loss, values = combine(per_sample, details, fed.weight, policy)
        accelerator.backward(loss)
        norms = clip(own, world, training.gradient_clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        values = average(values, accelerator) | logged_norms(norms, policy)
        if metrics is not None:
            metrics.add(step + 1, rate, (step + 1) * training.batch_size, values)
        done = step + 1
        saving = done % training.save_every == 0 or done == training.steps
        if metrics is not None and (saving or done % training.log_every == 0):
            for line in metrics.flush(time.monotonic() - started):
                log_to_trackers(accelerator, line)
            progress.update(done, f"loss {metrics.last['loss_total']:.4f}")
        if saving:
            if accelerator.is_main_process:
                save_checkpoint(folder, done, policy, processors, optimizer.state_dict())
            accelerator.wait_for_everyone()
    accelerator.end_training()
    return pretrained_folder(folder, training.steps)


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
