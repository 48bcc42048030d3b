"""A few real samples for the wiring checks, from the dataset that will be trained on."""

from typing import Any

import numpy as np
import torch
from lerobot.policies.pretrained import PreTrainedPolicy
from torch import Tensor

from wmvla.data.dataset import open_data
from wmvla.streams import generator
from wmvla.wiring.inputs import WiringInputs

SAMPLES = 4


def raw_batch(inputs: WiringInputs, chunk: int) -> dict[str, Any]:
    """``SAMPLES`` rows spread over the dataset to its end, as the data loader gives them."""
    data = open_data(inputs.dataset_root, inputs.dataset_repo_id, chunk)
    rows = np.linspace(0, int(data.ends[-1]) - 1, SAMPLES).astype(int)
    return next(iter(data.batches([rows])))


def copied(batch: dict[str, Any]) -> dict[str, Any]:
    """The batch with tensors of its own, for what changes its batch."""
    own = ((key, one.clone() if isinstance(one, Tensor) else one) for key, one in batch.items())
    return dict(own)


def observation(raw: dict[str, Any]) -> dict[str, Any]:
    """What a rollout sees of a batch: images, state and task."""
    return {key: raw[key] for key in raw if key.startswith("observation.") or key == "task"}


def flow_draws(policy: PreTrainedPolicy, seed: int) -> tuple[Tensor, Tensor]:
    """Noise (SAMPLES, chunk, A) and time (SAMPLES,) of flow matching, on the policy's device."""
    draws, config = generator("wiring", seed), policy.config
    noise = torch.randn(SAMPLES, config.chunk_size, config.max_action_dim, generator=draws)
    return noise.to(config.device), torch.rand(SAMPLES, generator=draws).to(config.device)
