"""Training data: a LeRobotDataset in memory if it fits; else worker processes read its images.

Non-obvious: LeRobot's own loader decodes the images of whole rows for each action of the chunk
(FACTS.md). Here actions come from memory always, and images are decoded once for each sample, or
once for all.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import httpx
import numpy as np
import torch
from huggingface_hub.errors import HFValidationError
from lerobot.configs import FeatureType
from lerobot.datasets import LeRobotDataset, LeRobotDatasetMetadata
from lerobot.utils.feature_utils import dataset_to_policy_features
from torch import Tensor

from wmvla.data.episodes import ends_of
from wmvla.data.images import StoredImages
from wmvla.data.readers import read_ahead
from wmvla.errors import UserError
from wmvla.resources import local_rank, usable_memory

MEMORY_FRACTION = 0.25
"""Share of the free memory for decoded frames, of all training processes on a machine together."""
MEMORY_BYTES = 4 * 2**30
"""For decoded frames in one process: 20,000 images of 256 pixels, a minute of decoding."""


class TrainingData(Protocol):
    """Rows of a dataset, as LeRobot's loader would batch them, ``chunk`` actions to a row."""

    metadata: LeRobotDatasetMetadata
    cameras: list[str]
    chunk: int
    ends: np.ndarray
    encoded: list[str]
    """Keys of batches that are vision features already; empty if batches carry images."""

    def batches(self, rows: Iterable[np.ndarray], device: str = "cpu") -> Iterator[dict[str, Any]]:
        """For each array of rows (B,) a batch; images (B, 3, H, W) in [0, 1] lie on ``device``."""


def open_data(root: Path | None, repo_id: str, chunk: int) -> TrainingData:
    """The dataset (``root``: None for the hub cache), decoded now if it is small, else while it is
    trained on."""
    metadata = open_metadata(root, repo_id)
    cameras = camera_keys(metadata)
    shapes = (metadata.features[camera]["shape"] for camera in cameras)
    size = metadata.total_frames * sum(int(np.prod(shape)) for shape in shapes)
    stored = all(metadata.features[camera]["dtype"] == "image" for camera in cameras)
    _, ranks = local_rank()
    if stored and size <= min(MEMORY_BYTES, MEMORY_FRACTION * usable_memory() / ranks):
        return InMemoryData(metadata, root, chunk)
    return StreamedData(metadata, root, chunk)


def open_metadata(root: Path | None, repo_id: str) -> LeRobotDatasetMetadata:
    """The dataset's metadata. UserError: no such dataset, or the hub cannot be reached for it."""
    if root is not None and not (root / "meta" / "info.json").is_file():
        raise UserError(f"{root} is not a LeRobotDataset: make the demonstrations first.")
    with fetching(repo_id, root):
        return LeRobotDatasetMetadata(repo_id, root=root)


@contextmanager
def fetching(repo_id: str, root: Path | None) -> Iterator[None]:
    """What LeRobot raises when files are neither on the disk nor on the hub becomes a sentence."""
    try:
        yield
    except (FileNotFoundError, ConnectionError, httpx.HTTPError, HFValidationError) as error:
        absent = f"The dataset {repo_id} is not on this disk"
        where = f"Files of the dataset {repo_id} are not in {root}" if root else absent
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{where}, and they cannot be fetched from the hub ({reason}): set dataset.repo_id "
            "and dataset.root."
        ) from error


def open_dataset(repo_id: str, root: Path | None) -> LeRobotDataset:
    """The dataset itself. UserError: files are missing, and the hub cannot be reached for them."""
    # pyav, because torchcodec needs shared libraries of FFmpeg that a wheel does not bring
    with fetching(repo_id, root):
        return LeRobotDataset(repo_id, root=root, video_backend="pyav")


def camera_keys(metadata: LeRobotDatasetMetadata) -> list[str]:
    """Feature keys of the cameras, in the dataset's order."""
    features = dataset_to_policy_features(metadata.features)
    return [key for key, feature in features.items() if feature.type is FeatureType.VISUAL]


def episode_ends(metadata: LeRobotDatasetMetadata) -> np.ndarray:
    """Exclusive end row of every episode, ascending: see ``wmvla.data.episodes``."""
    return ends_of(metadata)


def action_is_pad(ends: np.ndarray, rows: np.ndarray, chunk: int) -> Tensor:
    """Whether each action of the chunks from ``rows`` on lies behind its episode: (B, chunk)."""
    last = ends[np.searchsorted(ends, rows, side="right")] - 1
    return torch.from_numpy(rows[:, None] + np.arange(chunk) > last[:, None])


class Numbers:
    """State, actions and task of every row, in memory whatever the dataset's size."""

    def __init__(self, dataset: LeRobotDataset, chunk: int) -> None:
        self.metadata, self.cameras, self.chunk = dataset.meta, camera_keys(dataset.meta), chunk
        self.ends = episode_ends(dataset.meta)
        self.encoded: list[str] = []
        columns = ["observation.state", "action", "task_index"]
        table = dataset.hf_dataset.select_columns(columns).with_format("numpy")[:]
        self.state = torch.tensor(table["observation.state"], dtype=torch.float32)
        self.action = torch.tensor(table["action"], dtype=torch.float32)
        tasks = [str(task) for task in dataset.meta.tasks.sort_values("task_index").index]
        self.task = [tasks[number] for number in table["task_index"]]

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


class InMemoryData(Numbers):
    """Every frame of an image-typed LeRobotDataset, decoded once."""

    def __init__(self, metadata: LeRobotDatasetMetadata, root: Path | None, chunk: int) -> None:
        dataset = open_dataset(metadata.repo_id, root)
        super().__init__(dataset, chunk)
        images = StoredImages(dataset, self.cameras, self.ends).read(np.arange(self.ends[-1]))
        self.images = dict(zip(self.cameras, images, strict=True))

    def batches(self, rows: Iterable[np.ndarray], device: str = "cpu") -> Iterator[dict[str, Any]]:
        for picked in rows:
            images = {key: as_floats(self.images[key][picked], device) for key in self.cameras}
            yield images | self.batch(picked)


class StreamedData(Numbers):
    """A LeRobotDataset of any size: reader processes decode images, ahead of the training."""

    def __init__(self, metadata: LeRobotDatasetMetadata, root: Path | None, chunk: int) -> None:
        dataset = open_dataset(metadata.repo_id, root)
        super().__init__(dataset, chunk)
        self.images = StoredImages(dataset, self.cameras, self.ends)

    def batches(self, rows: Iterable[np.ndarray], device: str = "cpu") -> Iterator[dict[str, Any]]:
        picked = list(rows)
        read = read_ahead(self.images.read, picked, pinned=device != "cpu")
        for batch, images in zip(picked, read, strict=True):
            floats = (as_floats(image, device) for image in images)
            yield dict(zip(self.cameras, floats, strict=True)) | self.batch(batch)


def as_floats(images: Tensor, device: str) -> Tensor:
    """Bytes as numbers in [0, 1] on ``device``. Non-obvious: bytes travel, a quarter of the
    numbers; from pinned memory while the device works."""
    return images.to(device, non_blocking=True).float() / 255
