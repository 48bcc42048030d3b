"""Replayed demonstrations: what a trained policy makes of recorded episodes, whose future is known.

Nothing is simulated. The Prophet's prediction is compared with the latents that came, and the
policy's actions with the recorded ones, with its memory filled in every way. Here alone the true
future (``oracle``) can be given to it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wmvla.data.dataset import TrainingData, open_data
from wmvla.errors import UserError
from wmvla.policy.conversion import load_with_processors
from wmvla.policy.modeling_smolvla_world import SmolVLAWorldPolicy
from wmvla.rollout.policy import one_thread_on_cpu
from wmvla.streams import generator
from wmvla.world.latents.cache import LatentCache
from wmvla.world.memory import random_memory
from wmvla.world.prophet import cosine_per_step

MODES = ("pred", "zero", "random", "hold", "oracle")
"""Memories whose action errors are compared."""
ROWS = 1024
"""Rows of a latent cache that are read at a time."""


@dataclass(frozen=True)
class Recording:
    """Recorded episodes (folder and name of a LeRobotDataset) and their latent cache."""

    dataset_root: Path
    dataset_repo_id: str
    latents: Path


@dataclass(frozen=True)
class ReplayedEpisode:
    """What one recorded episode showed.

    ``valid`` (K,): frames whose k-th future lies inside the episode; ``cosine`` (K,): over these,
    the mean cosine of predicted and true change ``z_{t+k} - z_t`` of the standardised latents;
    ``mean_delta_cosine`` (K,): the same for the mean change over the training latents, which needs
    no prediction. A prediction of no change at all has cosine 0. ``action_error``: mean absolute
    error of the chunk's ``actions`` numbers inside the episode, in the dataset's units, by memory,
    over ``queries`` chunks that begin ``n_action_steps`` apart.
    """

    episode: int
    frames: int
    valid: list[int]
    cosine: list[float]
    mean_delta_cosine: list[float]
    queries: int
    actions: int
    action_error: dict[str, float]


def replay(
    checkpoint: Path,
    recording: Recording,
    training_latents: Path,
    modes: tuple[str, ...],
    n_action_steps: int,
    device: str,
) -> Iterator[ReplayedEpisode]:
    """Replay every episode of ``recording`` with a ``smolvla_world``, in the dataset's order."""
    one_thread_on_cpu(device)
    policy, processors = load_with_processors(checkpoint, device)
    if not isinstance(policy, SmolVLAWorldPolicy):
        raise UserError(
            f"{checkpoint / 'config.json'}: 'type' is {policy.config.type}, which has no world"
            " memory: put the right checkpoint there."
        )
    window, width = policy.config.window, policy.config.world_latent_dim
    latents = LatentCache(recording.latents, window, width)
    typical = mean_delta(policy, LatentCache(training_latents, window, width))
    data = open_data(recording.dataset_root, recording.dataset_repo_id, policy.config.chunk_size)
    starts = [0, *data.ends[:-1]]
    for episode, (start, end) in enumerate(zip(starts, data.ends, strict=True)):
        rows = np.arange(start, end)
        valid, cosine, mean_cosine = prophet_cosines(policy, latents, rows, typical)
        asked = rows[::n_action_steps]
        errors, actions = action_errors(policy, processors, data, latents, asked, modes, episode)
        yield ReplayedEpisode(
            episode, len(rows), valid, cosine, mean_cosine, len(asked), actions, errors
        )


def prophet_cosines(
    policy: SmolVLAWorldPolicy, latents: LatentCache, rows: np.ndarray, typical: Tensor
) -> tuple[list[int], list[float], list[float]]:
    """Per k: frames with a k-th future, mean cosine of the Prophet's change (of a bank of N
    hypotheses the mean over the N), mean cosine of the change ``typical`` (K, D)."""
    history, future, valid = _gather(policy, latents, rows)
    noise = _noise(policy, [("replay-memory", int(row)) for row in rows])
    present, true = _present_and_true(policy, history, future, noise)
    predicted = policy.memory_from_latents("pred", history, future, noise)
    predicted = predicted.unflatten(1, (-1, future.shape[1]))
    cosine = cosine_per_step(predicted - present[:, None], (true - present)[:, None]).mean(1)
    mean_cosine = cosine_per_step(typical, true - present)
    count = valid.sum(0)
    cosines, means = (
        ((value * valid).sum(0) / count.clamp_min(1)).tolist() for value in (cosine, mean_cosine)
    )
    return count.int().tolist(), cosines, means


def mean_delta(policy: SmolVLAWorldPolicy, latents: LatentCache) -> Tensor:
    """The mean change of the standardised latents over all rows, per k (K, D), inside episodes."""
    total, count = torch.zeros(()), torch.zeros(())
    for first in range(0, int(latents.ends[-1]), ROWS):
        rows = np.arange(first, min(first + ROWS, int(latents.ends[-1])))
        history, future, valid = _gather(policy, latents, rows)
        noise = _noise(policy, [("replay-memory", int(row)) for row in rows])
        present, true = _present_and_true(policy, history, future, noise)
        total = total.to(true) + ((true - present) * valid[..., None]).sum(0)
        count = count.to(true) + valid.sum(0)
    return total / count.clamp_min(1)[:, None]


def action_errors(
    policy: SmolVLAWorldPolicy,
    processors: tuple,
    data: TrainingData,
    latents: LatentCache,
    rows: np.ndarray,
    modes: tuple[str, ...],
    episode: int,
) -> tuple[dict[str, float], int]:
    """Mean absolute error of the chunks asked for at ``rows``, by memory, over how many numbers.

    Non-obvious: a query's noise is named by episode and number, so it is the same for every memory,
    arm and training seed.
    """
    (recorded,) = data.batches([rows])
    observed = {key: recorded[key] for key in (*data.cameras, "observation.state", "task")}
    preprocessor, postprocessor = processors
    batch = preprocessor(observed)
    history, future, _ = _gather(policy, latents, rows)
    config, queries = policy.config, range(len(rows))
    shape = (1, config.chunk_size, config.max_action_dim)
    draws = [torch.randn(shape, generator=generator("replay-action", episode, n)) for n in queries]
    noise = torch.cat(draws)
    memory_noise = _noise(policy, [("replay-query", episode, number) for number in queries])
    inside = ~recorded["action_is_pad"][..., None].expand_as(recorded["action"])
    errors = {}
    for mode in modes:
        memory = policy.memory_from_latents(mode, history, future, memory_noise)
        chunk = policy.predict_action_chunk(dict(batch), noise.to(config.device), memory=memory)
        chunk = postprocessor(chunk).float().cpu()
        errors[mode] = (chunk - recorded["action"])[inside].abs().mean().item()
    return errors, int(inside.sum())


def _gather(
    policy: SmolVLAWorldPolicy, latents: LatentCache, rows: np.ndarray
) -> tuple[Tensor, Tensor, Tensor]:
    """History (B, T, D), future (B, K, D), validity (B, K) as numbers, on the policy's device."""
    config = policy.config
    found = latents.gather(rows, config.context_frames, config.future_offset)
    history, future, valid = (torch.as_tensor(value).to(config.device) for value in found)
    return history, future, valid.float()


def _present_and_true(
    policy: SmolVLAWorldPolicy, history: Tensor, future: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    """The present latent, repeated, and the true future, both standardised (B, K, D)."""
    steps = future.shape[1]
    present, true = (
        policy.memory_from_latents(mode, history, future, noise)[:, :steps]
        for mode in ("hold", "oracle")
    )
    return present, true


def _noise(policy: SmolVLAWorldPolicy, streams: list[tuple[str | int, ...]]) -> Tensor:
    """One draw (1, M, D) of each stream: (B, M, D)."""
    config = policy.config
    shape = (1, config.memory_tokens, config.world_latent_dim)
    draws = [random_memory(shape, generator(*stream)) for stream in streams]
    return torch.cat(draws).to(config.device)
