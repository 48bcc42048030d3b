"""Training on cached vision features: made once, read by every arm, seed and process.

Non-obvious: features are made with ``BATCH_ROWS`` images at once, and a matrix product's last bits
depend on how many rows it has. So losses are those of a training that encodes its images to
rounding, not to the bit.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from lerobot.configs import FeatureType, NormalizationMode
from lerobot.datasets import LeRobotDatasetMetadata
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from lerobot.processor import (
    NormalizerProcessorStep,
    PolicyProcessorPipeline,
    RenameObservationsProcessorStep,
)
from torch import Tensor, distributed

from wmvla.data.cameras import camera_keys
from wmvla.data.dataset import TrainingData, as_floats
from wmvla.data.images import StoredImages
from wmvla.data.opening import open_dataset
from wmvla.data.readers import read_ahead
from wmvla.errors import UserError
from wmvla.policy.frozen_vision import encode_images, is_vision_frozen, take_features
from wmvla.progress import Progress
from wmvla.train.feature_file import FeatureFile, describe
from wmvla.train.job import TrainingJob
from wmvla.train.life import Life
from wmvla.train.parallel.preemption import Stopped
from wmvla.world.latents.partial import InUseError, Range
from wmvla.world.latents.rows_writer import write_rows

BATCH_ROWS = 32
WAIT_SECONDS = 2.0
"""Between two looks at whether another training has finished the features."""


class FeatureData(TrainingData):
    """A dataset whose batches carry encoded images, under the policy's camera keys."""

    def __init__(self, job: TrainingJob, chunk: int, files: list[FeatureFile]) -> None:
        super().__init__(*open_dataset(job.dataset_repo_id, dataset_root(job)), chunk)
        self.encoded = [file.key for file in files]
        self.opened = [file.open() for file in files]

    def batches(self, rows: Iterable[np.ndarray], device: str = "cpu") -> Iterator[dict[str, Any]]:
        picked = list(rows)
        read = read_ahead(self._read, picked, pinned=device != "cpu")
        for batch, features in zip(picked, read, strict=True):
            there = [feature.to(device, non_blocking=True) for feature in features]
            yield dict(zip(self.encoded, there, strict=True)) | self.batch(batch)

    def _read(self, rows: np.ndarray) -> list[Tensor]:
        return [opened.read(rows) for opened in self.opened]


def train_on_features(
    job: TrainingJob,
    policy: SmolVLAPolicy,
    preprocessor: PolicyProcessorPipeline,
    metadata: LeRobotDatasetMetadata,
    accelerator: Accelerator,
    asked_to_stop: Callable[[], bool],
    any_asked: Callable[[bool], bool],
    life: Life,
) -> FeatureData:
    """Make the features that are missing in the folder ``job.vision_cache``, and turn ``policy`` to
    them. ``any_asked``: whether any of the processes says yes, asked by all.

    UserError: features are not the same in every step of this training. Stopped: as was asked for.
    """
    keys = cached_cameras(job, policy, preprocessor, camera_keys(metadata))
    folder = Path(job.vision_cache) / job.dataset_repo_id
    files = [
        describe(folder, camera, key, policy, job.precision, metadata)
        for camera, key in keys.items()
    ]
    shared = accelerator.num_processes > 1
    group = distributed.new_group(backend="gloo", timeout=timedelta(days=7)) if shared else None
    for file in files:
        waited = False
        while not _first_says(accelerator.is_main_process and file.path.exists(), group):
            try:
                _make(job, policy, file, accelerator, asked_to_stop, group)
            except InUseError as error:
                if accelerator.is_main_process and not waited:
                    print(f"{job.case} waits: {error}", file=sys.stderr, flush=True)
                waited = True
                life.at("waiting for vision features")
                if any_asked(asked_to_stop()):
                    raise Stopped(
                        f"{job.case} was asked to stop while it waited for vision features"
                    ) from None
                time.sleep(WAIT_SECONDS)
    data = FeatureData(job, policy.config.chunk_size, files)
    take_features(policy)
    return data


def cached_cameras(
    job: TrainingJob,
    policy: SmolVLAPolicy,
    preprocessor: PolicyProcessorPipeline,
    cameras: list[str],
) -> dict[str, str]:
    """The dataset's cameras, and what the policy calls them. UserError: what the language model
    reads of an image is not the same in every step."""
    why = None
    if not is_vision_frozen(policy):
        why = "its vision tower or connector is trained (policy.train_expert_only is off)"
    if shift := job.training.image_shift:
        why = f"its images are shifted at random (training.image_shift = {shift})"
    renamed: dict[str, str] = {}
    for step in preprocessor.steps:
        if isinstance(step, RenameObservationsProcessorStep):
            renamed |= step.rename_map
        if isinstance(step, NormalizerProcessorStep):
            mode = step.norm_map.get(FeatureType.VISUAL, NormalizationMode.IDENTITY)
            if mode is not NormalizationMode.IDENTITY:
                why = f"its processors normalise images ({mode.value})"
    if why:
        raise UserError(
            f"{job.case}: vision features cannot be cached, because {why}: set cache_vision = "
            "false for the machine."
        )
    return {camera: renamed.get(camera, camera) for camera in cameras}


def dataset_root(job: TrainingJob) -> Path | None:
    """The dataset's folder; None for the hub cache."""
    return Path(job.dataset_root) if job.dataset_root else None


def _first_says(exists: bool, group: distributed.ProcessGroup | None) -> bool:
    """What the first process sees.

    Non-obvious: the others do not look before, because a cluster's file system remembers for a
    while that it was not there.
    """
    seen = [exists]
    if group is not None:
        distributed.broadcast_object_list(seen, 0, group)
    return seen[0]


def _make(
    job: TrainingJob,
    policy: SmolVLAPolicy,
    file: FeatureFile,
    accelerator: Accelerator,
    asked_to_stop: Callable[[], bool],
    group: distributed.ProcessGroup | None,
) -> None:
    device = accelerator.device.type
    dataset, frames = open_dataset(job.dataset_repo_id, dataset_root(job))
    images = StoredImages(dataset, [file.camera], frames.ends)

    def make(ranges: list[Range]) -> Iterator[tuple[int, np.ndarray]]:
        rows = [np.arange(*bounds) for bounds in ranges]
        ahead = read_ahead(images.read, rows, pinned=device != "cpu")
        for (first, _), (read,) in zip(ranges, ahead, strict=True):
            if asked_to_stop():
                raise Stopped(f"{job.case} was asked to stop while it encoded images")
            features = encode_images(policy, file.key, as_floats(read, device), job.precision)
            features = features.flatten(1).cpu()
            if not features.isfinite().all():
                raise UserError(
                    f"{job.case}: the vision tower gave features that are not finite, near row"
                    f" {first}."
                )
            if features.dtype is torch.bfloat16:
                features = features.view(torch.int16)
            yield first, features.numpy()

    shape = file.rows, file.tokens * file.width
    progress = partial(Progress, f"vision {file.camera.rpartition('.')[2]}")
    write_rows(
        file.path, shape, file.made_of, make, file.finish, BATCH_ROWS, progress, file.stored, group
    )
