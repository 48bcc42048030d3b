"""A published dataset that is not the simulation's is refused before anything is trained on it."""

import copy
import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from datasets import Dataset

from bench.run.stages.published import refuse_other_data
from wmvla.errors import UserError
from wmvla.recipe import Environment

SPATIAL = Environment(suite="libero_spatial", tasks=(0, 3), image_size=256, max_steps=280)
KEYS = ("observation.images.image", "observation.images.image2")


class Tasks:
    """What LeRobot's table of tasks is asked for."""

    def __init__(self, sentences: list[str]) -> None:
        self.index = sentences


@pytest.fixture
def right(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimpleNamespace:
    """Metadata as the published dataset has it, of two episodes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    monkeypatch.setattr("wmvla.sim.suites.sentence", lambda environment, task: f"task {task}")
    data = tmp_path / "data" / "chunk-000"
    data.mkdir(parents=True)
    pq.write_table(
        pa.table({"episode_index": [0, 0, 1, 1, 1], "index": range(5)}), data / "file-000.parquet"
    )
    episodes = Dataset.from_dict({"episode_index": [0, 1], "length": [2, 3]})
    image = {"dtype": "image", "shape": (256, 256, 3), "names": ["height", "width", "channel"]}
    features: dict[str, Any] = dict.fromkeys(KEYS, image)
    features |= {
        "observation.state": {"dtype": "float32", "shape": (8,)},
        "action": {"dtype": "float32", "shape": (7,)},
    }
    return SimpleNamespace(
        repo_id="a/b",
        root=tmp_path,
        features=features,
        tasks=Tasks(["task 0", "task 3", "another"]),
        episodes=episodes,
        total_episodes=2,
        total_frames=5,
    )


def test_the_simulations_data_is_taken_as_it_is(right: Any) -> None:
    before = copy.deepcopy(right.features)
    refuse_other_data(right, SPATIAL)
    assert right.features == before


def test_another_robot_is_refused(right: Any) -> None:
    right.features["observation.state"] = {"dtype": "float32", "shape": (6,)}
    with pytest.raises(
        UserError, match="dataset a/b: numbers in a state: 6, but libero_spatial has 8"
    ):
        refuse_other_data(right, SPATIAL)


def test_other_cameras_are_refused(right: Any) -> None:
    right.features["observation.images.top"] = right.features.pop(KEYS[0])
    with pytest.raises(
        UserError, match=r"dataset a/b: cameras: .*top.*, but libero_spatial has .*image2"
    ):
        refuse_other_data(right, SPATIAL)


def test_tasks_that_it_does_not_teach_are_refused(right: Any) -> None:
    with pytest.raises(
        UserError,
        match=r"dataset a/b has no demonstrations of task 4 of libero_spatial \('task 4'\)",
    ):
        refuse_other_data(right, dataclasses.replace(SPATIAL, tasks=(0, 4)))


def test_lengths_that_are_not_those_of_the_frames_are_refused(right: Any) -> None:
    right.episodes = Dataset.from_dict({"episode_index": [0, 1], "length": [3, 2]})
    with pytest.raises(
        UserError, match="not as long as meta/episodes says: fetch the dataset again"
    ):
        refuse_other_data(right, SPATIAL)
