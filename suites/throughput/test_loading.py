"""How fast samples are read: by this training against LeRobot's own loader, in turns. Both are
timed in one process, in CPU seconds, whatever readers and neighbours there are."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from clocks import cpu_seconds, take_turns
from lerobot.datasets import LeRobotDataset
from model_sizes import CAMERAS
from noise_dataset import FPS, REPO_ID, write_noise
from torch.utils.data import default_collate

from wmvla.data.dataset import StreamedData, as_floats
from wmvla.data.opening import open_dataset

EPISODES = (60, 50)
SIZE, CHUNK, BATCH = 128, 50, 8
"""Pixels of a side; actions of a chunk, as at full scale; samples read together."""
TURNS = 3


@pytest.mark.parametrize("kind", ["image", "video"])
def test_reading_samples(benchmark: Any, tmp_path: Path, kind: str) -> None:
    """The benchmark's time is this training's; ``extra_info`` has both."""
    torch.set_num_threads(1)
    root = write_noise(tmp_path / "dataset", SIZE, EPISODES, kind, moving=True)
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
    turns = take_turns(
        benchmark, lambda: cpu_seconds(read_stock), lambda: cpu_seconds(read_here), TURNS
    )
    speed = {who: BATCH / min(spent) for who, spent in zip(("stock", "here"), turns, strict=True)}
    ratio = speed["here"] / speed["stock"]
    benchmark.extra_info.update(
        {f"{who}_samples_per_cpu_second": round(found, 1) for who, found in speed.items()},
        ratio=round(ratio, 2),
    )
    print(
        f"\n  {kind}: {speed['here']:.0f} samples a CPU second, LeRobot's loader"
        f" {speed['stock']:.0f}: {ratio:.1f} x"
    )
