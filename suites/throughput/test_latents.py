"""World latents on a CPU: frames per second of the streaming writer against one window at a time.

Both read the same LeRobotDataset of stored images and give the same latents. One window at a time
is a plain loop: for each row it takes the m frames from the dataset, and the encoder sees that one
clip. (LeRobot's ``delta_timestamps`` fetches the m frames too, and was slower still.)
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from clocks import cpu_seconds
from lerobot.datasets import LeRobotDataset
from model_sizes import CAMERAS, WINDOW
from noise_dataset import REPO_ID, write_noise

from wmvla.data.frames import DatasetFrames
from wmvla.recipe import World
from wmvla.world.encoder import WorldEncoder
from wmvla.world.latents.writer import write_latents
from wmvla.world.tiny_encoder import make_tiny_encoder

SIZE = 64
EPISODES = (130, 120, 134)
"""As long as LIBERO's."""
WORLD = World(encoder="tiny")
LEAST_RATIO = 3.0
"""Issue 3."""


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> WorldEncoder:
    torch.set_num_threads(1)
    return WorldEncoder(
        str(make_tiny_encoder(tmp_path_factory.mktemp("encoder") / "tiny", WORLD, SIZE))
    )


def one_window_at_a_time(dataset: LeRobotDataset, encoder: WorldEncoder) -> np.ndarray:
    latents, start = [], 0
    for length in EPISODES:
        for row in range(start, start + length):
            rows = [max(start, row - back) for back in range(WINDOW - 1, -1, -1)]
            clip = torch.stack([dataset[past][CAMERAS[0]] for past in rows])
            latents.append(encoder.encode(encoder.preprocess(clip)[None]).numpy())
        start += length
    return np.concatenate(latents)


def test_streaming_against_one_window_at_a_time(
    benchmark: Any, encoder: WorldEncoder, tmp_path: Path
) -> None:
    """The benchmark's time is the writer's, metadata and all; ``extra_info`` has both ways'."""
    dataset = write_noise(tmp_path / "dataset", SIZE, EPISODES)
    stored = LeRobotDataset(REPO_ID, root=dataset, video_backend="pyav")
    frames = DatasetFrames(REPO_ID, dataset, "front")
    rows = sum(EPISODES)
    streamed, naive = [], []
    latents: dict[str, np.ndarray] = {}

    def stream() -> None:
        path = tmp_path / f"{len(streamed)}.fp16.npy"
        streamed.append(cpu_seconds(lambda: write_latents(path, frames, encoder, WINDOW)))
        latents["streamed"] = np.load(path)

    def naively() -> None:
        latents["naive"] = one_window_at_a_time(stored, encoder)

    write_latents(
        tmp_path / "warm.fp16.npy", frames, encoder, WINDOW
    )  # the first use of a model is slow
    for _ in range(2):
        naive.append(cpu_seconds(naively))
    benchmark.pedantic(stream, rounds=3)
    np.testing.assert_allclose(
        latents["streamed"].astype(np.float32), latents["naive"], rtol=1e-3, atol=1e-3
    )  # fp16
    ratio = min(naive) / min(streamed)
    benchmark.extra_info.update(
        frames=rows,
        streamed_cpu_seconds=round(min(streamed), 3),
        one_window_at_a_time_cpu_seconds=round(min(naive), 3),
        frames_per_cpu_second=round(rows / min(streamed)),
        ratio=round(ratio, 2),
    )
    print(
        f"\n  latents, m = {WINDOW}, {rows} frames: {min(streamed):.2f} CPU s streamed,"
        f" {min(naive):.2f} CPU s one window at a time: {ratio:.1f} x"
    )
    assert ratio >= LEAST_RATIO
