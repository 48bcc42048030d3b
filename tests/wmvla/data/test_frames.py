"""Frames of a dataset, as LeRobot gives them, and the fingerprint that tells datasets apart."""

import json
import shutil

import httpx
import numpy as np
import pytest
from lerobot.datasets import LeRobotDataset

from wmvla.data import opening
from wmvla.data.frames import DatasetFrames, dataset_fingerprint
from wmvla.data.opening import open_metadata

from ..conftest import EPISODES, Toy


def as_lerobot_gives(stored: LeRobotDataset, key: str, rows: range) -> np.ndarray:
    return np.stack([(stored[row][key] * 255).round().byte().numpy() for row in rows])


def test_stored_images_are_those_that_lerobot_gives(toy: Toy):
    frames = DatasetFrames(toy.repo_id, toy.dataset, "both")
    stored = LeRobotDataset(toy.repo_id, root=toy.dataset, video_backend="pyav")
    read = frames.read(17, 24)  # across a border
    assert frames.keys == ["observation.images.image", "observation.images.image2"]
    assert frames.ends.tolist() == np.cumsum(EPISODES).tolist()
    for key, camera in zip(frames.keys, read, strict=True):
        assert np.array_equal(camera.numpy(), as_lerobot_gives(stored, key, range(17, 24)))


def test_frames_of_a_video_dataset_are_those_that_lerobot_gives(tmp_path):
    image = {"dtype": "video", "shape": (64, 64, 3), "names": ["height", "width", "channel"]}
    state = {"dtype": "float32", "shape": (2,), "names": None}
    made = LeRobotDataset.create(
        "toy/video",
        fps=10,
        root=tmp_path / "dataset",
        use_videos=True,
        features={"observation.images.image": image, "observation.state": state, "action": state},
    )
    draws = np.random.default_rng(0)
    for length in (7, 5):
        for step in range(length):
            frame = np.full((64, 64, 3), 20 * step, np.uint8)
            frame[:32] = draws.integers(0, 255)
            made.add_frame(
                {
                    "observation.images.image": frame,
                    "observation.state": np.zeros(2, np.float32),
                    "action": np.zeros(2, np.float32),
                    "task": "wait",
                }
            )
        made.save_episode()
    made.finalize()
    frames = DatasetFrames("toy/video", tmp_path / "dataset", "front")
    (read,) = frames.read(3, 11)  # across the border
    stored = LeRobotDataset("toy/video", root=tmp_path / "dataset", video_backend="pyav")
    assert np.array_equal(
        read.numpy(), as_lerobot_gives(stored, "observation.images.image", range(3, 11))
    )
    with pytest.raises(
        ValueError,
        match=r"policy.world_camera = 'wrist', but the names of the cameras of the dataset toy/video do",
    ):
        DatasetFrames("toy/video", tmp_path / "dataset", "wrist")


def test_the_fingerprint_is_that_of_the_content_and_not_of_the_place(toy: Toy, tmp_path):
    original = dataset_fingerprint(open_metadata(toy.dataset, toy.repo_id))
    copy = tmp_path / "copy"
    shutil.copytree(toy.dataset, copy)
    metadata = open_metadata(copy, "other/name")
    assert dataset_fingerprint(metadata) == original
    metadata.stats["action"]["mean"] += 1  # as LeRobot's training replaces the statistics of images
    assert dataset_fingerprint(metadata) == original
    stats = json.loads((copy / "meta" / "stats.json").read_text())
    stats["observation.images.image"]["mean"][0][0][0] += 0.01
    (copy / "meta" / "stats.json").write_text(json.dumps(stats))
    assert dataset_fingerprint(open_metadata(copy, toy.repo_id)) != original
    info = json.loads((toy.dataset / "meta" / "info.json").read_text())
    (copy / "meta" / "stats.json").write_text((toy.dataset / "meta" / "stats.json").read_text())
    assert dataset_fingerprint(open_metadata(copy, toy.repo_id)) == original
    (copy / "meta" / "info.json").write_text(json.dumps({**info, "fps": 10}))
    assert dataset_fingerprint(open_metadata(copy, toy.repo_id)) != original


def test_a_dataset_that_the_hub_does_not_give_is_one_line(monkeypatch):
    def unreachable(*_args: object, **_kwargs: object) -> None:
        raise httpx.ConnectError("[Errno -2] Name or service not known")

    monkeypatch.setattr(opening, "LeRobotDatasetMetadata", unreachable)
    with pytest.raises(
        ValueError,
        match=r"The dataset a/b is not on this disk, and they cannot be fetched from the hub \(\[Errno -2\]",
    ):
        open_metadata(None, "a/b")
