"""How fast samples are read: by this training against LeRobot's own loader, the same samples, in
turns.

Both are timed in one process, in CPU seconds: how many readers there are, and how busy the machine
is, then does not matter.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lerobot.datasets import LeRobotDataset
from torch.utils.data import default_collate

from wmvla.data.dataset import StreamedData, as_floats
from wmvla.data.opening import open_dataset

REPO_ID = "toy/loading"
CAMERAS = ("observation.images.image", "observation.images.image2")
EPISODES, FPS = (60, 50), 10
SIZE, CHUNK, BATCH = 128, 50, 8
"""Pixels of a side; actions of a chunk, as at full scale; samples read together."""
TURNS = 3


def write_dataset(folder: Path, kind: str) -> Path:
    """Two cameras that see a slowly moving pattern, stored as ``image`` or as ``video``."""
    camera = {"dtype": kind, "shape": (SIZE, SIZE, 3), "names": ["height", "width", "channel"]}
    features = {
        **dict.fromkeys(CAMERAS, camera),
        "observation.state": {"dtype": "float32", "shape": (8,), "names": None},
        "action": {"dtype": "float32", "shape": (7,), "names": None},
    }
    made = LeRobotDataset.create(
        REPO_ID, fps=FPS, root=folder, use_videos=kind == "video", features=features
    )
    draws = np.random.default_rng(0)
    pattern = np.kron(
        draws.integers(0, 256, (SIZE // 8, SIZE // 8, 3), np.uint8), np.ones((8, 8, 1), np.uint8)
    )
    for length in EPISODES:
        for step in range(length):
            frames = {
                key: np.roll(pattern, step * (place + 1), axis=place)
                for place, key in enumerate(CAMERAS)
            }
            numbers = {"observation.state": draws.normal(size=8), "action": draws.normal(size=7)}
            made.add_frame(
                {**frames, **{k: v.astype(np.float32) for k, v in numbers.items()}, "task": "wait"}
            )
        made.save_episode()
    made.finalize()
    return folder


@pytest.mark.parametrize("kind", ["image", "video"])
def test_reading_samples(benchmark: Any, tmp_path: Path, kind: str) -> None:
    """The benchmark's time is this training's; ``extra_info`` has both, in samples for each CPU
    second."""
    torch.set_num_threads(1)
    root = write_dataset(tmp_path / "dataset", kind)
    ahead = {"action": [step / FPS for step in range(CHUNK)]}
    stock = LeRobotDataset(REPO_ID, root=root, video_backend="pyav", delta_timestamps=ahead)
    ours = StreamedData(*open_dataset(REPO_ID, root), CHUNK)
    rows = np.random.default_rng(1).permutation(sum(EPISODES))[:BATCH]

    def read_here() -> dict[str, Any]:
        images = dict(
            zip(CAMERAS, (as_floats(image, "cpu") for image in ours.images.read(rows)), strict=True)
        )
        return images | ours.batch(rows)

    def read_stock() -> dict[str, Any]:
        found: dict[str, Any] = default_collate([stock[int(row)] for row in rows])
        return found

    mine, theirs = read_here(), read_stock()
    assert all(torch.equal(value, theirs[key]) for key, value in mine.items() if key != "task")
    assert mine["task"] == theirs["task"]
    spent: dict[str, list[float]] = {"here": [], "stock": []}

    def timed(who: str, read: Callable[[], object]) -> None:
        began = time.process_time()
        read()
        spent[who].append(time.process_time() - began)

    benchmark.pedantic(
        lambda: timed("here", read_here), setup=lambda: timed("stock", read_stock), rounds=TURNS
    )
    speed = {who: BATCH / min(times) for who, times in spent.items()}
    ratio = speed["here"] / speed["stock"]
    benchmark.extra_info.update(
        {f"{who}_samples_per_cpu_second": round(found, 1) for who, found in speed.items()},
        ratio=round(ratio, 2),
    )
    print(
        f"\n  {kind}: {speed['here']:.0f} samples a CPU second, LeRobot's loader"
        f" {speed['stock']:.0f}: {ratio:.1f} x"
    )
