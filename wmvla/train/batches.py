"""What one optimizer step gets: its slice of the batch, augmented, preprocessed, noise, weights."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from lerobot.policies.pretrained import PreTrainedPolicy
from lerobot.processor import PolicyProcessorPipeline
from torch import Tensor

from wmvla.data.dataset import TrainingData, action_is_pad
from wmvla.policy.modeling_smolvla_world import MEMORY_NOISE, MEMORY_ORDER, SmolVLAWorldPolicy
from wmvla.streams import generator
from wmvla.train.job import TrainingJob
from wmvla.train.streams import batch_rows, flow_noise, image_shifts, shift_images
from wmvla.world.memory import another_sample


@dataclass(frozen=True)
class StepBatch:
    """``noise`` (B, chunk, A) and ``time`` (B,) of flow matching.

    Non-obvious: SmolVLA averages over the actions that lie inside their episode. The weights (B,)
    make the slices' averages add up to that of the whole batch, whatever the number of processes:
    n_i * processes / (sum of all n). The same holds for parts of a slice (``cut``).
    """

    batch: dict[str, Any]
    noise: Tensor
    time: Tensor
    weight: Tensor


def cut(fed: StepBatch, parts: int) -> Iterator[StepBatch]:
    """``parts`` parts of equal size, in order; each weighs as if it stood for the whole slice."""
    size = len(fed.time) // parts
    for first in range(0, len(fed.time), size):
        mine = slice(first, first + size)
        batch = {
            key: value[mine] if isinstance(value, Tensor | list) else value
            for key, value in fed.batch.items()
        }
        yield StepBatch(batch, fed.noise[mine], fed.time[mine], fed.weight[mine] * parts)


def step_batches(
    job: TrainingJob,
    data: TrainingData,
    preprocessor: PolicyProcessorPipeline,
    policy: PreTrainedPolicy,
    first: int,
    accelerator: Accelerator,
) -> Iterator[StepBatch]:
    """The batches of the steps from ``first`` to the last, for this process."""
    training, device = job.training, accelerator.device
    size, ranks, rank = training.batch_size, accelerator.num_processes, accelerator.process_index
    mine = slice(rank * size // ranks, (rank + 1) * size // ranks)
    width = data.metadata.features["observation.state"]["shape"][0]
    steps = range(first, training.steps)
    rows = [batch_rows(job.seed, step, size, int(data.ends[-1])) for step in steps]
    read = data.batches((batch[mine] for batch in rows), device.type)
    for step, everyone, raw in zip(steps, rows, read, strict=True):
        draws = generator("step", job.seed, step)
        noise, time = flow_noise(draws, size, data.chunk, policy.config.max_action_dim)
        shifts = image_shifts(draws, size, len(data.cameras), training.image_shift)[mine]
        state_noise = training.state_noise * torch.randn(size, width, generator=draws)[mine]
        if training.image_shift:
            for number, camera in enumerate(data.cameras):
                raw[camera] = shift_images(raw[camera], shifts[:, number])
        torch.manual_seed(generator("dropout", job.seed, step, rank).initial_seed())
        features = {key: raw.pop(key) for key in data.encoded}
        batch = preprocessor(raw) | features
        memory = generator("memory", job.seed, step, rank)
        size_here, parts = len(batch["observation.state"]), job.accumulation_steps
        batch |= memory_draws(policy, size_here, memory, device, parts)
        batch["observation.state"] = batch["observation.state"] + state_noise.to(device)
        inside = (~action_is_pad(data.ends, everyone, data.chunk)).sum(1).float()
        weight = inside[mine] * ranks / inside.sum()
        yield StepBatch(batch, noise[mine].to(device), time[mine].to(device), weight.to(device))


def memory_draws(
    policy: PreTrainedPolicy,
    size: int,
    draws: torch.Generator,
    device: torch.device,
    parts: int = 1,
) -> dict[str, Tensor]:
    """What memory ``random`` or ``shuffle`` and the imagination bank need of ``draws``, by batch
    key. ``shuffle`` takes its other sample from the same of the batch's ``parts``."""
    if not isinstance(policy, SmolVLAWorldPolicy):
        return {}
    drawn = {}
    shape = policy.memory_noise_shape(size)
    if shape is not None:
        drawn[MEMORY_NOISE] = torch.randn(shape, generator=draws).to(device)
    if policy.config.world_memory_mode_train == "shuffle":
        orders = [another_sample(size // parts, draws) for _ in range(parts)]
        drawn[MEMORY_ORDER] = torch.cat(orders).to(device)
    return drawn
