"""A LeRobotDataset of noise images and numbers with LIBERO's features: what reading costs does not
depend on what is seen."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from lerobot.datasets import LeRobotDataset
from model_sizes import ACTION, CAMERAS, STATE

from wmvla.sim.libero.language import task_sentences

REPO_ID = "toy/steps"


def write_noise(folder: Path, size: int, episodes: Sequence[int]) -> Path:
    """Episodes of so many frames, with two cameras of `size` pixels a side, stored as images."""
    draws = np.random.default_rng(0)
    image = {"dtype": "image", "shape": (size, size, 3), "names": ["height", "width", "channel"]}
    features = {
        **dict.fromkeys(CAMERAS, image),
        "observation.state": {"dtype": "float32", "shape": (STATE,), "names": None},
        "action": {"dtype": "float32", "shape": (ACTION,), "names": None},
    }
    made = LeRobotDataset.create(REPO_ID, fps=20, root=folder, use_videos=False, features=features)
    for length in episodes:
        for _ in range(length):
            frames = {
                camera: draws.integers(0, 256, (size, size, 3), np.uint8) for camera in CAMERAS
            }
            numbers = {
                "observation.state": draws.normal(size=STATE),
                "action": draws.normal(size=ACTION),
            }
            made.add_frame(
                {
                    **frames,
                    **{k: v.astype(np.float32) for k, v in numbers.items()},
                    "task": task_sentences()[0],
                }
            )
        made.save_episode()
    made.finalize()
    return folder
