"""Images that are read while the training works: those of LeRobot, in the order that is asked
for."""

import multiprocessing
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from lerobot.datasets import LeRobotDataset

from wmvla.data import dataset, readers
from wmvla.data.dataset import InMemoryData, StreamedData, open_data
from wmvla.data.opening import open_metadata
from wmvla.data.readers import read_ahead, reader_count
from wmvla.errors import UserError

from .conftest import CAMERAS


def test_batches_of_a_video_dataset_are_those_of_lerobot(video_dataset: Path):
    stock = LeRobotDataset(
        "toy/video",
        root=video_dataset,
        video_backend="pyav",
        delta_timestamps={"action": [step / 10 for step in range(4)]},
    )
    streamed = open_data(video_dataset, "toy/video", 4)
    assert isinstance(streamed, StreamedData)
    rows = [np.array([14, 2, 3, 4, 2, 8, 9]), np.array([0])]
    batches = list(streamed.batches(rows))
    assert len(batches) == len(rows)
    for picked, batch in zip(rows, batches, strict=True):
        for place, row in enumerate(picked):
            theirs = stock[int(row)]
            for key in (
                *CAMERAS,
                "observation.state",
                "action",
                "action_is_pad",
                "index",
                "episode_index",
            ):
                assert torch.equal(batch[key][place], theirs[key]), (row, key)
            assert batch["task"][place] == theirs["task"]


def test_what_is_read_ahead_comes_in_order(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(readers, "reader_count", lambda: 3)
    rows = [np.arange(number, number + 2) for number in range(20)]
    state = torch.random.get_rng_state()
    read = [
        batch[0].tolist()
        for batch in read_ahead(lambda picked: [torch.from_numpy(picked)], rows, pinned=False)
    ]
    assert read == [batch.tolist() for batch in rows]
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("broken", ["is named", "is read for ever"])
def test_a_training_that_met_a_broken_image_can_leave(broken: str, monkeypatch: pytest.MonkeyPatch):
    """However it leaves: here it keeps the error, and what it reads from."""
    monkeypatch.setattr(readers, "reader_count", lambda: 2)
    kept: list[object] = []

    def read(rows: np.ndarray) -> list[torch.Tensor]:
        if rows[0] == 2 and broken == "is named":
            raise UserError("the image of row 2 cannot be read")
        if rows[0] == 2:
            time.sleep(600)
        return [torch.from_numpy(rows)]

    def train() -> None:
        batches = read_ahead(read, [np.array([row]) for row in range(40)], pinned=False)
        kept.append(batches)
        try:
            for _ in range(2 if broken == "is read for ever" else 40):
                next(batches)
        except UserError as error:
            kept.append(error)

    training = multiprocessing.get_context("fork").Process(target=train)
    training.start()
    training.join(60)
    hangs = training.is_alive()
    if hangs:
        for reader in psutil.Process(training.pid).children():
            reader.kill()
        training.kill()
    assert not hangs
    assert training.exitcode == 0


def test_processes_of_one_machine_share_its_cores(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(readers, "usable_cores", lambda: 24)
    assert reader_count() == 8
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert reader_count() == 6
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "64")
    assert reader_count() == 1


def test_processes_of_one_machine_share_its_memory(toy, monkeypatch: pytest.MonkeyPatch):
    frames = open_metadata(toy.dataset, toy.repo_id).total_frames
    room = frames * 2 * 32 * 32 * 3 + 1  # for the images of one process
    monkeypatch.setattr(dataset, "usable_memory", lambda: 10 * room)  # of a container, perhaps
    monkeypatch.setattr(dataset, "MEMORY_FRACTION", 0.1)
    assert isinstance(open_data(toy.dataset, toy.repo_id, 4), InMemoryData)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert isinstance(open_data(toy.dataset, toy.repo_id, 4), StreamedData)
    monkeypatch.delenv("LOCAL_WORLD_SIZE")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    monkeypatch.setenv("SLURM_STEP_TASKS_PER_NODE", "2")
    assert isinstance(open_data(toy.dataset, toy.repo_id, 4), StreamedData)
