"""A dataset of videos."""

from pathlib import Path

import numpy as np
import pytest
from lerobot.datasets import LeRobotDataset

CAMERAS = ("observation.images.image", "observation.images.image2")
LENGTHS = (9, 6)


@pytest.fixture(scope="module")
def video_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two episodes, seen by two cameras."""
    folder = tmp_path_factory.mktemp("video") / "dataset"
    video = {"dtype": "video", "shape": (64, 64, 3), "names": ["height", "width", "channel"]}
    numbers = {"dtype": "float32", "shape": (2,), "names": None}
    features = {**dict.fromkeys(CAMERAS, video), "observation.state": numbers, "action": numbers}
    made = LeRobotDataset.create(
        "toy/video", fps=10, root=folder, use_videos=True, features=features
    )
    draws = np.random.default_rng(0)
    for length in LENGTHS:
        for step in range(length):
            frames = {
                camera: np.full((64, 64, 3), 15 * step + 60 * place, np.uint8)
                for place, camera in enumerate(CAMERAS)
            }
            numbers_now = {
                key: draws.normal(size=2).astype(np.float32)
                for key in ("observation.state", "action")
            }
            made.add_frame({**frames, **numbers_now, "task": f"task {length}"})
        made.save_episode()
    made.finalize()
    return folder
