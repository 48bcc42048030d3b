"""A LeRobotDataset of noise with LIBERO's features: reading costs the same whatever is seen."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from lerobot.datasets import LeRobotDataset
from model_sizes import ACTION, CAMERAS, STATE

from wmvla.sim.libero.language import task_sentences

REPO_ID = "toy/steps"
FPS = 20


def write_noise(
    folder: Path, size: int, episodes: Sequence[int], kind: str = "image", moving: bool = False
) -> Path:
    """Episodes of so many frames, with two cameras of `size` pixels a side, stored as ``image`` or
    ``video``; `moving`: of one pattern that moves slowly, which a video can hold."""
    draws = np.random.default_rng(0)
    image = {"dtype": kind, "shape": (size, size, 3), "names": ["height", "width", "channel"]}
    numbers = {"observation.state": STATE, "action": ACTION}
    features = dict.fromkeys(CAMERAS, image) | {
        key: {"dtype": "float32", "shape": (width,), "names": None}
        for key, width in numbers.items()
    }
    made = LeRobotDataset.create(
        REPO_ID, fps=FPS, root=folder, use_videos=kind == "video", features=features
    )
    pattern = draws.integers(0, 256, (size // 8, size // 8, 3), np.uint8)
    pattern = np.kron(pattern, np.ones((8, 8, 1), np.uint8))
    for length in episodes:
        for step in range(length):
            frame = {
                key: np.roll(pattern, step * (place + 1), axis=place)
                if moving
                else draws.integers(0, 256, (size, size, 3), np.uint8)
                for place, key in enumerate(CAMERAS)
            }
            frame |= {k: draws.normal(size=n).astype(np.float32) for k, n in numbers.items()}
            made.add_frame({**frame, "task": task_sentences()[0]})
        made.save_episode()
    made.finalize()
    return folder
