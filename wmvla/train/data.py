"""Training data: a LeRobotDataset held in memory, batched as LeRobot's own loader would.

Non-obvious: reading an image-typed LeRobotDataset costs 9 ms a sample, because whole rows are decoded for each action of the
chunk (FACTS.md). Small data is decoded once; data that does not fit is read by LeRobot in worker processes.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from lerobot.configs import FeatureType
from lerobot.datasets import LeRobotDataset, LeRobotDatasetMetadata
from lerobot.utils.feature_utils import dataset_to_policy_features
from PIL import Image
from torch import Tensor

from wmvla.errors import UserError

MEMORY_FRACTION = 0.25
"""Share of the machine's memory that decoded frames may take."""


def open_metadata(root: Path | None, repo_id: str) -> LeRobotDatasetMetadata:
    """The dataset's metadata.

    Raises:
        UserError: no such dataset.
    """
    if root is not None and not (root / "meta" / "info.json").is_file():
        raise UserError(f"{root} is not a LeRobotDataset: make the demonstrations first.")
    return LeRobotDatasetMetadata(repo_id, root=root)


def episode_ends(metadata: LeRobotDatasetMetadata) -> np.ndarray:
    """Exclusive end row of every episode, ascending."""
    return np.asarray(metadata.episodes["dataset_to_index"])


class InMemoryDataset:
    """Every frame of a LeRobotDataset, decoded once.

    Args:
        root: the dataset's folder; None for the hub cache. chunk: actions of one sample.

    Raises:
        UserError: the frames do not fit into ``MEMORY_FRACTION`` of the memory.
    """

    def __init__(self, root: Path | None, repo_id: str, chunk: int) -> None:
        self.metadata = open_metadata(root, repo_id)
        features = dataset_to_policy_features(self.metadata.features)
        self.cameras = [key for key, feature in features.items() if feature.type is FeatureType.VISUAL]
        count = self.metadata.total_frames
        size = sum(int(np.prod(features[key].shape)) for key in self.cameras) * count
        if size > MEMORY_FRACTION * psutil.virtual_memory().total:
            raise UserError(
                f"{repo_id}: {size / 2**30:.0f} GiB of frames do not fit into {MEMORY_FRACTION:.0%} of this machine's memory."
            )
        dataset = LeRobotDataset(repo_id, root=root, video_backend="pyav")
        table = dataset.hf_dataset.with_format(None)
        raw = table.cast_column(self.cameras[0], _undecoded(table, self.cameras[0]))
        for camera in self.cameras[1:]:
            raw = raw.cast_column(camera, _undecoded(table, camera))
        self.images = {camera: torch.stack([_decode(cell) for cell in raw[camera]]) for camera in self.cameras}
        self.state = torch.tensor(np.asarray(raw["observation.state"]), dtype=torch.float32)
        self.action = torch.tensor(np.asarray(raw["action"]), dtype=torch.float32)
        self.task_index = np.asarray(raw["task_index"])
        self.tasks = [str(task) for task in self.metadata.tasks.sort_values("task_index").index]
        self.chunk = chunk
        self.ends = episode_ends(self.metadata)
        self.last = torch.from_numpy(self.ends[np.asarray(raw["episode_index"])] - 1)

    def __len__(self) -> int:
        return len(self.state)

    def action_is_pad(self, rows: np.ndarray) -> Tensor:
        """Whether each action of the chunks that start at ``rows`` lies behind the episode's end: (B, chunk) bool."""
        start = torch.from_numpy(rows)
        return start[:, None] + torch.arange(self.chunk) > self.last[start][:, None]

    def batch(self, rows: np.ndarray) -> dict[str, Any]:
        """Rows (B,) -> the batch that LeRobot's loader would collate, images as float (B, 3, H, W) in [0, 1]."""
        start = torch.from_numpy(rows)
        ahead = torch.minimum(start[:, None] + torch.arange(self.chunk), self.last[start][:, None])
        return {
            **{camera: self.images[camera][start].float() / 255 for camera in self.cameras},
            "observation.state": self.state[start],
            "action": self.action[ahead],
            "action_is_pad": self.action_is_pad(rows),
            "index": start,
            "task": [self.tasks[i] for i in self.task_index[rows]],
        }


def _undecoded(table: Any, camera: str) -> Any:
    from datasets import Image as ImageFeature

    assert camera in table.features
    return ImageFeature(decode=False)


def _decode(cell: dict[str, Any]) -> Tensor:
    """One stored image as uint8 (3, H, W)."""
    stored = cell["bytes"] if cell["bytes"] is not None else Path(cell["path"]).read_bytes()
    with Image.open(io.BytesIO(stored)) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
