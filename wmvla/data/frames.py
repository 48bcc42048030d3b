"""Camera frames of a LeRobotDataset in row order, as bytes: what latents are made from.

Only the world cameras' frames are decoded, and of a range of rows only those: memory stays bounded
whatever the dataset's size.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from lerobot.datasets import LeRobotDatasetMetadata
from lerobot.datasets.io_utils import load_stats
from torch import Tensor

from wmvla.data.cameras import camera_keys, world_cameras
from wmvla.data.episodes import ends_of
from wmvla.data.images import StoredImages
from wmvla.data.opening import open_dataset


class DatasetFrames:
    """Frames of a LeRobotDataset on disk (or of the hub, which LeRobot then fetches).

    Args:
        camera: ``front``, ``wrist`` or ``both``, front first: see ``wmvla.data.cameras``.

    Raises:
        UserError: no such dataset, or it lacks the camera.
    """

    def __init__(self, repo_id: str, root: Path | None, camera: str) -> None:
        dataset, _ = open_dataset(repo_id, root)
        metadata = dataset.meta
        self.repo_id, self.camera = repo_id, camera
        self.keys = world_cameras(camera_keys(metadata), camera, f"the dataset {repo_id}")
        self.ends = ends_of(metadata)
        self.fingerprint = dataset_fingerprint(metadata)
        self.images = StoredImages(dataset, self.keys, self.ends)

    def read(self, first: int, last: int) -> list[Tensor]:
        """Rows ``first`` to ``last`` (exclusive): for each camera uint8 (N, 3, H, W)."""
        return self.images.read(np.arange(first, last))


def dataset_fingerprint(metadata: LeRobotDatasetMetadata) -> str:
    """Hash of what a dataset's metadata says of its content, 16 hex digits.

    It covers the frame rate, every feature's type and shape, the episodes' ends, the tasks, and the
    content of ``meta/stats.json``: means and extremes of actions, states and sampled images. It
    reads no frame, and does not depend on how the files are cut or on where they lie. Two datasets
    that agree in all of this differ in single frames at most.

    Non-obvious: the statistics are read from the file, because LeRobot's training replaces those in
    memory.
    """
    content = {
        "fps": metadata.fps,
        "features": {
            key: [value["dtype"], list(value["shape"])] for key, value in metadata.features.items()
        },
        "ends": ends_of(metadata).tolist(),
        "tasks": [str(task) for task in metadata.tasks.sort_values("task_index").index],
        "stats": load_stats(metadata.root),
    }
    text = json.dumps(content, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    """Arrays of statistics as lists, rounded to what survives a change of float width."""
    return np.round(np.asarray(value, np.float64), 6).tolist()
