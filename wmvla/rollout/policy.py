"""The policy's side of a rollout: queries in, action chunks out, noise by the episode's stream."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lerobot.policies.pretrained import PreTrainedPolicy

from wmvla.errors import UserError
from wmvla.policy.camera_names import check_cameras
from wmvla.policy.conversion import load_policy, load_processors
from wmvla.policy.modeling_smolvla_world import SmolVLAWorldPolicy
from wmvla.policy.normalisation import Pipelines
from wmvla.rollout.conventions import check_conventions
from wmvla.rollout.episode import Answer, Query
from wmvla.rollout.latents import HistoryLatents
from wmvla.streams import query_stream
from wmvla.world.memory import random_memory

CAMERA = "observation.images."
"""What LeRobot puts before a camera's name."""


class RolloutPolicy:
    """A checkpoint in one rollout mode.

    Args:
        checkpoint: ``pretrained_model`` folder. mode: ``none`` for a policy without memory, else a
        rollout mode. n_action_steps: actions executed of each chunk. device: ``cpu`` or ``cuda``.
        largest_batch: queries answered together; None for 1 on a CPU and 64 elsewhere.

    Non-obvious: in a batch the last bits of an answer depend on what else is in it, and then on
    which simulator was faster. Alone, as on a CPU, they do not: a resumed run gives the same
    episodes as an uninterrupted one.
    """

    def __init__(
        self,
        checkpoint: Path,
        mode: str,
        n_action_steps: int,
        device: str,
        largest_batch: int | None = None,
    ) -> None:
        overrides = {} if mode == "none" else {"world_memory_mode_rollout": mode}
        policy = load_policy(checkpoint, {**overrides, "device": device})
        if isinstance(policy, SmolVLAWorldPolicy) == (mode == "none"):
            raise UserError(
                f"{checkpoint / 'config.json'}: 'type' is {policy.config.type}, which is not played"
                f" with memory '{mode}': put the right checkpoint there."
            )
        processors = load_processors(policy.config, checkpoint)
        check_conventions(processors, checkpoint)
        self._hold(policy, processors, n_action_steps, largest_batch)

    @classmethod
    def of(
        cls,
        policy: PreTrainedPolicy,
        processors: Pipelines,
        n_action_steps: int,
        largest_batch: int | None = None,
    ) -> "RolloutPolicy":
        """A loaded SmolVLA or ``smolvla_world``, in its configuration's mode and on its device."""
        rollout_policy = cls.__new__(cls)
        rollout_policy._hold(policy, processors, n_action_steps, largest_batch)
        return rollout_policy

    def _hold(
        self, policy: Any, processors: Pipelines, n_action_steps: int, largest_batch: int | None
    ) -> None:
        self.policy, self.config, self.n_action_steps = policy, policy.config, n_action_steps
        self.preprocessor, self.postprocessor = processors
        self.cameras_are_known = False
        has_memory = isinstance(policy, SmolVLAWorldPolicy)
        self.mode = policy.config.world_memory_mode_rollout if has_memory else "none"
        device = str(policy.config.device)
        one_thread_on_cpu(device)
        usual_batch = 1 if device == "cpu" else 64
        self.largest_batch = usual_batch if largest_batch is None else largest_batch
        self.latents: HistoryLatents | None = None
        if self.world_frames:
            encoder, config = policy.world_encoder(), self.config
            self.latents = HistoryLatents(encoder, config.context_frames, config.window)

    @property
    def world_frames(self) -> int:
        """Consecutive frames of each world camera in a query; 0 if the memory needs none."""
        return self.config.world_frames if self.mode != "none" and self.config.needs_frames else 0

    @property
    def world_cameras(self) -> tuple[str, ...]:
        """The cameras of those frames, by their names in a query."""
        keys = self.config.world_camera_keys if self.world_frames else ()
        return tuple(key.removeprefix(CAMERA) for key in keys)

    @torch.no_grad()
    def act(self, queries: Sequence[Query]) -> list[Answer]:
        """For each query the next actions (n_action_steps, A), all from one forward pass.
        FloatingPointError: the world memory of one of them is not finite. UserError: see
        ``check_cameras``."""
        began = time.process_time()
        batch: dict[str, Any] = {
            f"{CAMERA}{name}": _images(np.stack([query.images[name] for query in queries]))
            for name in queries[0].images
        }
        batch["observation.state"] = torch.from_numpy(np.stack([query.state for query in queries]))
        batch = self.preprocessor({**batch, "task": [query.language for query in queries]})
        if not self.cameras_are_known:  # LeRobot plays without a camera that has no image
            check_cameras(self.config, {key: key for key in batch if key.startswith(CAMERA)})
            self.cameras_are_known = True
        streams = [(query.row.noise_seed, query.number) for query in queries]
        shape = (1, self.config.chunk_size, self.config.max_action_dim)
        noise = torch.cat(
            [torch.randn(shape, generator=query_stream("noise", *stream)) for stream in streams]
        )
        memory = {}
        if self.latents is not None:
            memory["history"] = self.latents(queries)
        asked = self.policy.memory_noise_shape(1) if self.mode != "none" else None
        if asked is not None:
            memory["memory_noise"] = torch.cat(
                [random_memory(asked, query_stream("memory", *stream)) for stream in streams]
            )
        chunk = self.policy.predict_action_chunk(batch, noise.to(self.config.device), **memory)
        actions = self.postprocessor(chunk[:, : self.n_action_steps]).float().cpu().numpy()
        share = (time.process_time() - began) / len(queries)
        return [Answer(own, share) for own in actions]


def one_thread_on_cpu(device: str) -> None:
    """Simulators fill the other cores, and another number of threads rounds differently."""
    if device == "cpu":
        torch.set_num_threads(1)


def _images(images: np.ndarray) -> torch.Tensor:
    """(N, H, W, 3) uint8 -> (N, 3, H, W) in [0, 1], as LeRobot's ``preprocess_observation``."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).float() / 255
