"""The training loop on accelerate: one for every arm and process number, resumable."""

import math
import time
from collections.abc import Callable
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, GradientAccumulationPlugin

from wmvla.data.dataset import TrainingData, open_data
from wmvla.data.opening import open_metadata
from wmvla.progress import Progress
from wmvla.recipe import Training
from wmvla.train.batches import step_batches
from wmvla.train.checkpoint import (
    latest_step,
    load_optimizer_state,
    pretrained_folder,
    remove_older,
    save_checkpoint,
)
from wmvla.train.features import train_on_features
from wmvla.train.finite import FiniteSteps
from wmvla.train.job import TrainingJob
from wmvla.train.life import SAVING, Life
from wmvla.train.metrics import MetricsFile
from wmvla.train.parallel.preemption import Stopped, agreement
from wmvla.train.parallel.ranks import as_rank_0_sees
from wmvla.train.parallel.strategy import check_strategy, prepare
from wmvla.train.start import refuse_other_dataset, start
from wmvla.train.step import optimize
from wmvla.train.trackers import check_trackers, finish_trackers, log_to_trackers, start_trackers


def learning_rate(training: Training, step: int) -> float:
    """Linear warm-up, then a cosine to ``final_learning_rate_fraction``; ``step`` counts from 0."""
    peak = training.learning_rate
    if step < training.warmup_steps:
        return peak * (step + 1) / training.warmup_steps
    done = (step - training.warmup_steps) / max(1, training.steps - training.warmup_steps)
    floor = training.final_learning_rate_fraction
    return peak * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done)))


def train(
    job: TrainingJob, asked_to_stop: Callable[[], bool] = lambda: False, life: Life | None = None
) -> Path:
    """Run the job to its end, from its newest checkpoint: the final ``pretrained_model`` folder.
    ``asked_to_stop`` is looked at after each step, ``life`` is where signs of life go.

    Stopped: as was asked for, with a checkpoint of the last step. UserError: a loss or gradient
    that is not finite, among others; no checkpoint holds its step.
    """
    training, folder = job.training, Path(job.checkpoints)
    check_trackers(job.trackers)
    accelerator = _accelerator(job)
    life = life or Life()
    life.at("loading")
    check_strategy(job, accelerator.num_processes)
    first = as_rank_0_sees(latest_step(folder), accelerator)
    if accelerator.is_main_process:
        remove_older(folder, first)
    if first >= training.steps:
        return pretrained_folder(folder, first)
    root = Path(job.dataset_root) if job.dataset_root else None
    metadata = open_metadata(root, job.dataset_repo_id)
    policy, processors = start(job, metadata, first, accelerator.device.type)
    refuse_other_dataset(processors[0], metadata)
    policy.train()
    any_asked = agreement(accelerator)
    if job.vision_cache:
        data: TrainingData = train_on_features(
            job, policy, processors[0], metadata, accelerator, asked_to_stop, any_asked, life
        )
    else:
        data = open_data(root, job.dataset_repo_id, policy.config.chunk_size)
    prepared = prepare(job, policy, accelerator)
    if first:
        prepared.load_optimizer_state(load_optimizer_state(folder, first))
    metrics = MetricsFile(Path(job.metrics), first) if accelerator.is_main_process else None
    progress = Progress(job.case, training.steps, first)
    start_trackers(accelerator, job)

    started = time.monotonic()
    finite = FiniteSteps(job.case)
    batches = step_batches(job, data, processors[0], policy, first, accelerator)
    life.at(f"step {first}")
    for step, fed in enumerate(batches, first):
        rate = learning_rate(training, step)
        for group in prepared.optimizer.param_groups:
            group["lr"] = rate
        values, is_finite = optimize(
            prepared, policy, fed, training.gradient_clip_norm, accelerator, job.accumulation_steps
        )
        done = step + 1
        finite.add(done, is_finite)
        life.step(done)
        if metrics is not None:
            metrics.add(done, rate, done * training.batch_size, values)
        stopping = any_asked(asked_to_stop())
        saving = stopping or done % training.save_every == 0 or done == training.steps
        if saving or done % training.log_every == 0:
            if metrics is not None:
                for line in metrics.flush(time.monotonic() - started):
                    log_to_trackers(accelerator, line)
            finite.check()
            if metrics is not None:
                progress.update(done, f"loss {metrics.last['loss_total']:.4f}")
        if saving:
            weights, optimizer_state = prepared.weights(), prepared.optimizer_state()
            if metrics is not None:
                life.at(f"writing the checkpoint of step {done}", SAVING)
                metrics.sync()
                save_checkpoint(folder, done, policy, processors, optimizer_state, weights)
                life.at(f"step {done}")
            accelerator.wait_for_everyone()
        if stopping and done < training.steps:
            finish_trackers(accelerator)
            raise Stopped(
                f"{job.case} was asked to stop and did after step {done} of {training.steps}, with"
                " a checkpoint"
            )
    finish_trackers(accelerator)
    return pretrained_folder(folder, training.steps)


def _accelerator(job: TrainingJob) -> Accelerator:
    return Accelerator(
        cpu=job.device == "cpu",
        mixed_precision="bf16" if job.precision == "bf16" else "no",
        # an environment variable would divide the gradients; an argument does not prevent that
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
        log_with=list(job.trackers) or None,
        project_dir=Path(job.metrics).parent,
    )
