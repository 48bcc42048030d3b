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
from wmvla.train.metrics import MetricsFile
from wmvla.train.start import start


def learning_rate(training: Training, step: int) -> float:
    """Linear warm-up, then a cosine to ``final_learning_rate_fraction`` at the last step; ``step`` counts from 0."""
    peak = training.learning_rate
    if step < training.warmup_steps:
        return peak * (step + 1) / training.warmup_steps
    done = (step - training.warmup_steps) / max(1, training.steps - training.warmup_steps)
    floor = training.final_learning_rate_fraction
    return peak * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done)))


def parameter_groups(policy: PreTrainedPolicy) -> list[list[nn.Parameter]]:
    """Trainable parameters: SmolVLA's, and the world parts' (empty for a plain SmolVLA).

    Non-obvious: their gradients are clipped apart. One common norm would let the world parts' gradients shrink SmolVLA's, and
    an arm with a closed gate would no longer be the baseline.
    """
    world = {id(p) for p in policy.world_parameters()} if hasattr(policy, "world_parameters") else set()
    trainable = [p for p in policy.parameters() if p.requires_grad]
    return [[p for p in trainable if id(p) not in world], [p for p in trainable if id(p) in world]]


def train(job: TrainingJob) -> Path:
    """Run the job to its end, from its newest checkpoint, and return the final ``pretrained_model`` folder."""
    training, folder = job.training, Path(job.checkpoints)
    accelerator = Accelerator(
        cpu=job.device == "cpu",
        mixed_precision="bf16" if job.precision == "bf16" else "no",
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
    )
    first = latest_step(folder)
    if first >= training.steps:
        return pretrained_folder(folder, first)
    root = Path(job.dataset_root) if job.dataset_root else None
    metadata = open_metadata(root, job.dataset_repo_id)
    policy, processors = start(job, metadata, first, accelerator.device.type)
    policy.train()
    data = open_data(root, job.dataset_repo_id, policy.config.chunk_size)
    groups = parameter_groups(policy)
    optimizer = torch.optim.AdamW(
        [{"params": group} for group in groups if group],
        lr=training.learning_rate,
        betas=(training.adam_beta1, training.adam_beta2),
        weight_decay=training.weight_decay,
    )
    if first:
        optimizer.load_state_dict(load_optimizer_state(folder, first))
    model, optimizer = accelerator.prepare(policy, optimizer)
    metrics = MetricsFile(Path(job.metrics), job.case, first) if accelerator.is_main_process else None
    progress = Progress(job.case, training.steps, first)

    started = time.monotonic()
    batches = step_batches(job, data, processors[0], policy, first, accelerator)
    for step, fed in enumerate(batches, first):
        rate = learning_rate(training, step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        per_sample, details = model(fed.batch, fed.noise, fed.time, "none")
        loss, values = combine(per_sample, details, fed.weight, policy)
        accelerator.backward(loss)
        norms = [nn.utils.clip_grad_norm_(group, training.gradient_clip_norm) for group in groups if group]
        optimizer.step()
        optimizer.zero_grad()
        values |= dict(zip(("grad_norm", "grad_world"), norms, strict=False))
        values = average(values, accelerator)
        if metrics is not None:
            metrics.add(step + 1, rate, (step + 1) * training.batch_size, values)
        done = step + 1
        saving = done % training.save_every == 0 or done == training.steps
        if metrics is not None and (saving or done % training.log_every == 0):
            metrics.flush(time.monotonic() - started)
            progress.update(done, f"loss {metrics.last['loss']:.4f}")
        if saving:
            if accelerator.is_main_process:
                save_checkpoint(folder, done, policy, processors, optimizer.state_dict())
            accelerator.wait_for_everyone()
    return pretrained_folder(folder, training.steps)


def combine(
    per_sample: Tensor, details: dict[str, Any], weight: Tensor, policy: PreTrainedPolicy
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of this process's slice, and what is logged: weighted action loss plus the mean world loss."""
    action = (details.get("action_loss_per_sample", per_sample) * weight).sum()
    if "world_loss_per_sample" not in details:
        return action, {"loss": action.detach(), "action_loss": action.detach()}
    world = details["world_loss_per_sample"].mean()
    loss = action + policy.config.lambda_world * world
    logged = {key: details[key] for key in ("world_valid_frac", "world_gate")}
    logged["world_cos"] = details["world_cos"] * details["world_valid_frac"]
    return loss, {
        "loss": loss.detach(),
        "action_loss": action.detach(),
        "world_loss": world.detach(),
        **{key: value.reshape(()) for key, value in logged.items()},
    }


def average(values: dict[str, Tensor], accelerator: Accelerator) -> dict[str, Tensor]:
    """Averages over the processes, as tensors: nothing is copied to the host here."""
    stacked = torch.stack([value.detach().float().reshape(()) for value in values.values()])
    mean = dict(zip(values, accelerator.reduce(stacked, reduction="mean").unbind(), strict=True))
    if "world_cos" in mean:  # slices with few futures inside their episodes must not weigh as much as the others
        mean["world_cos"] = mean["world_cos"] / mean["world_valid_frac"].clamp_min(1e-6)
    return mean
