"""Training data: a LeRobotDataset in memory where it fits, read in worker processes where it does not.

Non-obvious: reading an image-typed LeRobotDataset costs 9 ms a sample, because whole rows are decoded for each action of the
chunk (FACTS.md). Small data is therefore decoded once.
"""

import io
import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import httpx
import numpy as np
import psutil
import torch
from datasets import Image as ImageFeature
from huggingface_hub.errors import HFValidationError
from lerobot.configs import FeatureType
from lerobot.datasets import LeRobotDataset, LeRobotDatasetMetadata
from lerobot.utils.feature_utils import dataset_to_policy_features
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from wmvla.errors import UserError
from wmvla.train.episodes import ends_of

MEMORY_FRACTION = 0.25
"""Share of the machine's memory that decoded frames may take."""
READERS = min(8, os.cpu_count() or 1)
"""Processes that decode a dataset that does not fit into memory."""


class TrainingData(Protocol):
    """Rows of a dataset, as LeRobot's loader would batch them. ``chunk`` actions belong to one row."""

    metadata: LeRobotDatasetMetadata
    cameras: list[str]
    chunk: int
    ends: np.ndarray

    def batches(self, rows: Iterable[np.ndarray]) -> Iterator[dict[str, Any]]:
        """For each array of rows (B,) one batch; images are float (B, 3, H, W) in [0, 1]."""


def open_data(root: Path | None, repo_id: str, chunk: int) -> TrainingData:
    """The dataset in memory if it fits into ``MEMORY_FRACTION`` of it, else read by LeRobot.

    Args:
        root: the dataset's folder; None for the hub cache.
    """
    metadata = open_metadata(root, repo_id)
    cameras = camera_keys(metadata)
    size = metadata.total_frames * sum(int(np.prod(metadata.features[camera]["shape"])) for camera in cameras)
    stored = all(metadata.features[camera]["dtype"] == "image" for camera in cameras)
    if stored and size <= MEMORY_FRACTION * psutil.virtual_memory().total:
        return InMemoryData(metadata, root, chunk)
    return StreamedData(metadata, root, chunk)


def open_metadata(root: Path | None, repo_id: str) -> LeRobotDatasetMetadata:
    """The dataset's metadata.

    Raises:
        UserError: no such dataset, or the hub cannot be reached for it.
    """
    if root is not None and not (root / "meta" / "info.json").is_file():
        raise UserError(f"{root} is not a LeRobotDataset: make the demonstrations first.")
    with fetching(repo_id, root):
        return LeRobotDatasetMetadata(repo_id, root=root)


@contextmanager
def fetching(repo_id: str, root: Path | None) -> Iterator[None]:
    """What LeRobot raises when it looks for a dataset's files, on the disk and then on the hub, becomes one sentence."""
    try:
        yield
    except (FileNotFoundError, ConnectionError, httpx.HTTPError, HFValidationError) as error:
        where = f"Files of the dataset {repo_id} are not in {root}" if root else f"The dataset {repo_id} is not on this disk"
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{where}, and the hub does not give them ({reason}): set dataset.repo_id and dataset.root.") from error


def camera_keys(metadata: LeRobotDatasetMetadata) -> list[str]:
    """Feature keys of the cameras, in the dataset's order."""
    features = dataset_to_policy_features(metadata.features)
    return [key for key, feature in features.items() if feature.type is FeatureType.VISUAL]


def episode_ends(metadata: LeRobotDatasetMetadata) -> np.ndarray:
    """Exclusive end row of every episode, ascending: see ``wmvla.train.episodes``."""
    return ends_of(metadata)


def action_is_pad(ends: np.ndarray, rows: np.ndarray, chunk: int) -> Tensor:
    """Whether each action of the chunks that start at ``rows`` lies behind its episode's end: (B, chunk) bool."""
    last = ends[np.searchsorted(ends, rows, side="right")] - 1
    return torch.from_numpy(rows[:, None] + np.arange(chunk) > last[:, None])


class InMemoryData:
    """Every frame of an image-typed LeRobotDataset, decoded once."""

    def __init__(self, metadata: LeRobotDatasetMetadata, root: Path | None, chunk: int) -> None:
        self.metadata, self.cameras, self.chunk = metadata, camera_keys(metadata), chunk
        self.ends = episode_ends(metadata)
        with fetching(metadata.repo_id, root):
            table = LeRobotDataset(metadata.repo_id, root=root, video_backend="pyav").hf_dataset.with_format(None)
        for camera in self.cameras:
            table = table.cast_column(camera, ImageFeature(decode=False))
        self.images = {camera: torch.stack([decode_image(cell) for cell in table[camera]]) for camera in self.cameras}
        self.state = torch.tensor(np.asarray(table["observation.state"]), dtype=torch.float32)
        self.action = torch.tensor(np.asarray(table["action"]), dtype=torch.float32)
        tasks = [str(task) for task in metadata.tasks.sort_values("task_index").index]
        self.task = [tasks[number] for number in table["task_index"]]

    def batches(self, rows: Iterable[np.ndarray]) -> Iterator[dict[str, Any]]:
        return map(self._batch, rows)

    def _batch(self, rows: np.ndarray) -> dict[str, Any]:
        last = self.ends[np.searchsorted(self.ends, rows, side="right")] - 1
        ahead = np.minimum(rows[:, None] + np.arange(self.chunk), last[:, None])
        return {
            **{camera: self.images[camera][rows].float() / 255 for camera in self.cameras},
            "observation.state": self.state[rows],
            "action": self.action[ahead],
            "action_is_pad": action_is_pad(self.ends, rows, self.chunk),
            "index": torch.from_numpy(rows),
            "episode_index": torch.from_numpy(np.searchsorted(self.ends, rows, side="right")),
            "task": [self.task[row] for row in rows],
        }


class StreamedData:
    """A LeRobotDataset of any size, read by LeRobot in ``READERS`` processes ahead of the training."""

    def __init__(self, metadata: LeRobotDatasetMetadata, root: Path | None, chunk: int) -> None:
        self.metadata, self.cameras, self.chunk = metadata, camera_keys(metadata), chunk
        self.ends = episode_ends(metadata)
        ahead = {"action": [step / metadata.fps for step in range(chunk)]}
        repo_id = metadata.repo_id
        with fetching(repo_id, root):
            self.dataset = LeRobotDataset(repo_id, root=root, delta_timestamps=ahead, video_backend="pyav")

    def batches(self, rows: Iterable[np.ndarray]) -> Iterator[dict[str, Any]]:
        picked = [[int(row) for row in batch] for batch in rows]
        return iter(DataLoader(self.dataset, batch_sampler=picked, num_workers=READERS, worker_init_fn=ignore_sigterm))


def ignore_sigterm(worker: int) -> None:
    """A cluster signals every process of a job; the training still needs its readers for the step that it finishes."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def decode_image(cell: dict[str, Any]) -> Tensor:
    """One stored image as uint8 (3, H, W)."""
    stored = cell["bytes"] if cell["bytes"] is not None else Path(cell["path"]).read_bytes()
    with Image.open(io.BytesIO(stored)) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
