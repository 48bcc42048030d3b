"""The training loop on accelerate: one for every arm, resumable to the step, independent of the number of processes."""

import math
import time
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs

from wmvla.progress import Progress
from wmvla.recipe import Training
from wmvla.train.batches import step_batches
from wmvla.train.checkpoint import latest_step, load_optimizer_state, pretrained_folder, save_checkpoint
from wmvla.train.data import open_data, open_metadata
from wmvla.train.job import TrainingJob
from wmvla.train.metrics import MetricsFile
from wmvla.train.start import refuse_other_dataset, start
from wmvla.train.step import make_optimizer, optimize, parameter_groups
from wmvla.train.trackers import check_trackers, log_to_trackers, start_trackers


def learning_rate(training: Training, step: int) -> float:
    """Linear warm-up, then a cosine to ``final_learning_rate_fraction`` at the last step; ``step`` counts from 0."""
    peak = training.learning_rate
    if step < training.warmup_steps:
        return peak * (step + 1) / training.warmup_steps
    done = (step - training.warmup_steps) / max(1, training.steps - training.warmup_steps)
    floor = training.final_learning_rate_fraction
    return peak * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done)))


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
    refuse_other_dataset(processors[0], metadata)
    policy.train()
    data = open_data(root, job.dataset_repo_id, policy.config.chunk_size)
    parts = parameter_groups(policy)
    optimizer = make_optimizer(parts, training)
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
        values = optimize(model, policy, parts, optimizer, fed, training.gradient_clip_norm, accelerator)
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
