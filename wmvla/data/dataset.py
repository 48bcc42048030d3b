"""Training data: a LeRobotDataset in memory if it fits; else worker processes read its images.

Non-obvious: LeRobot's own loader decodes the images of whole rows for each action of the chunk
(FACTS.md). Here actions come from memory always, and images are decoded once for each sample, or
once for all.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lerobot.datasets import LeRobotDataset
from torch import Tensor

from wmvla.data.cameras import camera_keys
from wmvla.data.images import StoredImages
from wmvla.data.opening import open_dataset
from wmvla.data.readers import read_ahead
from wmvla.data.rows import Rows
from wmvla.resources import local_rank, usable_memory

MEMORY_FRACTION = 0.25
"""Share of the free memory for decoded frames, of all training processes on a machine together."""
MEMORY_BYTES = 4 * 2**30
"""For decoded frames in one process: 20,000 images of 256 pixels, a minute of decoding."""


def action_is_pad(ends: np.ndarray, rows: np.ndarray, chunk: int) -> Tensor:
    """Whether each action of the chunks from ``rows`` on lies behind its episode: (B, chunk)."""
    last = ends[np.searchsorted(ends, rows, side="right")] - 1
    return torch.from_numpy(rows[:, None] + np.arange(chunk) > last[:, None])


class TrainingData(ABC):
    """Rows of a dataset, as LeRobot's loader would batch them, ``chunk`` actions to a row: state,
    actions and task of every row are in memory, whatever the dataset's size."""

    encoded: Sequence[str] = ()
    """Keys of batches that are vision features already; empty if batches carry images."""

    def __init__(self, dataset: LeRobotDataset, rows: Rows, chunk: int) -> None:
        self.metadata, self.cameras, self.chunk = dataset.meta, camera_keys(dataset.meta), chunk
        self.ends, self.task = rows.ends, rows.task
        self.state = torch.tensor(rows.state, dtype=torch.float32)
        self.action = torch.tensor(rows.action, dtype=torch.float32)

    @abstractmethod
    def batches(self, rows: Iterable[np.ndarray], device: str = "cpu") -> Iterator[dict[str, Any]]:
        """For each array of rows (B,) a batch; images (B, 3, H, W) in [0, 1] lie on ``device``."""

    def batch(self, rows: np.ndarray) -> dict[str, Any]:
        """What LeRobot's loader gives of ``rows`` (B,), without images."""
        last = self.ends[np.searchsorted(self.ends, rows, side="right")] - 1
        ahead = np.minimum(rows[:, None] + np.arange(self.chunk), last[:, None])
        return {
            "observation.state": self.state[rows],
            "action": self.action[ahead],
            "action_is_pad": action_is_pad(self.ends, rows, self.chunk),
            "index": torch.from_numpy(rows),
            "episode_index": torch.from_numpy(np.searchsorted(self.ends, rows, side="right")),
            "task": [self.task[row] for row in rows],
        }


class InMemoryData(TrainingData):
    """Every frame of an image-typed LeRobotDataset, decoded once."""

    def __init__(self, dataset: LeRobotDataset, rows: Rows, chunk: int) -> None:
        super().__init__(dataset, rows, chunk)
        images = StoredImages(dataset, self.cameras, self.ends).read(np.arange(self.ends[-1]))
        self.images = dict(zip(self.cameras, images, strict=True))

    def batches(self, rows: Iterable[np.ndarray], device: str = "cpu") -> Iterator[dict[str, Any]]:
        for picked in rows:
            images = {key: as_floats(self.images[key][picked], device) for key in self.cameras}
            yield images | self.batch(picked)


class StreamedData(TrainingData):
    """A LeRobotDataset of any size: reader processes decode images, ahead of the training."""

    def __init__(self, dataset: LeRobotDataset, rows: Rows, chunk: int) -> None:
        super().__init__(dataset, rows, chunk)
        self.images = StoredImages(dataset, self.cameras, self.ends)

    def batches(self, rows: Iterable[np.ndarray], device: str = "cpu") -> Iterator[dict[str, Any]]:
        picked = list(rows)
        read = read_ahead(self.images.read, picked, pinned=device != "cpu")
        for batch, images in zip(picked, read, strict=True):
            floats = (as_floats(image, device) for image in images)
            yield dict(zip(self.cameras, floats, strict=True)) | self.batch(batch)


def open_data(root: Path | None, repo_id: str, chunk: int) -> TrainingData:
    """The dataset (``root``: None for the hub cache), decoded now if it is small, else while it is
    trained on."""
    dataset, rows = open_dataset(repo_id, root)
    metadata = dataset.meta
    cameras = camera_keys(metadata)
    shapes = (metadata.features[camera]["shape"] for camera in cameras)
    size = metadata.total_frames * sum(int(np.prod(shape)) for shape in shapes)
    stored = all(metadata.features[camera]["dtype"] == "image" for camera in cameras)
    _, ranks = local_rank()
    if stored and size <= min(MEMORY_BYTES, MEMORY_FRACTION * usable_memory() / ranks):
        return InMemoryData(dataset, rows, chunk)
    return StreamedData(dataset, rows, chunk)


def as_floats(images: Tensor, device: str) -> Tensor:
    """Bytes as numbers in [0, 1] on ``device``. Non-obvious: bytes travel, a quarter of the
    numbers; from pinned memory while the device works."""
    return images.to(device, non_blocking=True).float() / 255
