"""A dataset that is not whole is refused in one line that names file, key and fix; what is only
unusual is read for what it is."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lerobot.datasets import LeRobotDataset

from wmvla.data import opening
from wmvla.data.dataset import open_data
from wmvla.data.frames import DatasetFrames
from wmvla.data.opening import open_dataset
from wmvla.data.stored import read_as_stored
from wmvla.errors import UserError

from . import damaged
from .damaged import change_column, info


@pytest.fixture
def dataset(toy, tmp_path: Path) -> Path:
    """A copy of the toy's, to be spoilt."""
    return Path(shutil.copytree(toy.dataset, tmp_path / "dataset"))


REFUSED: list[tuple[Callable[[Path], None], str]] = [
    (damaged.version_2_1, r"meta/info.json: codebase_version v2.1 .*convert_dataset_v21_to_v30"),
    (damaged.pointer_tasks, r"meta/tasks.parquet is a Git LFS pointer.*git lfs pull"),
    (damaged.pointer_data, r"file-000.parquet is a Git LFS pointer"),
    (damaged.pointer_statistics, r"meta/stats.json is a Git LFS pointer"),
    (damaged.half_a_parquet, r"data/chunk-000/file-000.parquet cannot be read .*fetch it again"),
    (damaged.empty_parquet, r"data/chunk-000/file-000.parquet cannot be read \(it is empty\)"),
    (damaged.half_the_episodes, r"meta/episodes/chunk-000/file-000.parquet cannot be read"),
    (damaged.half_an_info, r"meta/info.json cannot be read"),
    (damaged.no_features, r"meta/info.json is not the description of a LeRobotDataset"),
    (damaged.no_episodes, r"total_episodes = 0.*no episodes"),
    (damaged.no_tasks, r"total_tasks = 0.*no sentence"),
    (damaged.openpi_names, r"the features are image, wrist_image, state, actions, .*rename them"),
    (damaged.no_statistics, r"meta/stats.json is missing.*recompute_stats"),
    (damaged.no_action_statistics, r"meta/stats.json: action is missing"),
    (damaged.no_state_statistics, r"meta/stats.json: observation.state is missing"),
    (damaged.no_action_std, r"meta/stats.json: action.std is missing"),
    (damaged.narrow_statistics, r"observation.state.std has 7 numbers, but .* says 8"),
    (damaged.nan_statistics, r"action.mean is not finite"),
    (damaged.std_of_0, r"observation.state.std\[0\] is 0, but that of the data is 0\.\d+"),
    (damaged.std_of_whole_numbers, r"action.std\[0\] is 0, but"),
    (damaged.mean_of_other_data, r"action.mean\[6\] is 3, but"),
    (damaged.null_action, r"file-000.parquet: action has 1 null values"),
    (damaged.null_row, r"file-000.parquet: action has 1 null values"),
    (damaged.nan_action, r"file-000.parquet: action\[1\] of row 4 is nan"),
    (damaged.infinite_state, r"file-000.parquet: observation.state\[0\] of row 9 is inf"),
    (damaged.narrow_row, r"action has 198 numbers in 33 rows, but meta/info.json says 7 a row"),
    (damaged.no_action_column, r"file-000.parquet.*action"),
    (damaged.rows_are_missing, r"its data hold other frames \(30\) than meta/episodes says \(33\)"),
    (damaged.other_task_numbers, r"row 0 is of task_index 0, which meta/tasks.parquet does not"),
    (damaged.tasks_without_sentences, r"meta/tasks.parquet: it does not give each task_index one"),
]


@pytest.mark.parametrize(("spoil", "said"), REFUSED, ids=[spoil.__name__ for spoil, _ in REFUSED])
def test_what_is_not_whole_is_refused_in_one_line(toy, dataset: Path, spoil, said: str):
    spoil(dataset)
    with pytest.raises(UserError, match=said) as caught:
        open_dataset(toy.repo_id, dataset)
    assert "\n" not in str(caught.value)
    assert str(dataset) in str(caught.value)


def test_hidden_files_are_no_data(toy, dataset: Path):
    for file in [*dataset.rglob("*.parquet"), dataset / "meta/info.json"]:
        (file.parent / f"._{file.name}").write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00")
    (batch,) = open_data(dataset, toy.repo_id, 4).batches([np.arange(33)])
    (whole,) = open_data(toy.dataset, toy.repo_id, 4).batches([np.arange(33)])
    for key, value in whole.items():
        assert np.array_equal(batch[key], value), key


def test_a_frames_sentence_is_that_of_its_own_task_number(toy, dataset: Path):
    damaged.other_task_numbers(dataset)
    change_column(
        dataset, "task_index", lambda values: values.__setitem__(slice(None), [7, 3] * 16 + [7])
    )
    (batch,) = open_data(dataset, toy.repo_id, 4).batches([np.arange(2)])
    assert batch["task"] == ["pick up the milk", "open the drawer"]
    with read_as_stored():
        stock = LeRobotDataset(toy.repo_id, root=dataset, video_backend="pyav")
    assert [stock[row]["task"] for row in range(2)] == batch["task"]


def test_sentences_in_a_column_are_read(toy, dataset: Path):
    table = pd.DataFrame({"task_index": [0], "task": ["pick up the milk"]})
    table.to_parquet(dataset / "meta/tasks.parquet")
    (batch,) = open_data(dataset, toy.repo_id, 4).batches([np.arange(2)])
    assert batch["task"] == ["pick up the milk"] * 2


def test_a_dataset_that_was_replaced_under_equal_times_is_read_anew(toy, dataset: Path):
    before = open_data(dataset, toy.repo_id, 4)
    (path,) = dataset.glob("data/*/*.parquet")
    times = path.stat()
    table = pq.read_table(path)
    images = "observation.images.image"
    place = table.column_names.index(images)
    turned = pa.chunked_array([table[images].combine_chunks()[::-1]])
    table = table.set_column(place, images, turned)
    pq.write_table(table, path)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert path.stat().st_mtime_ns == times.st_mtime_ns
    after = open_data(dataset, toy.repo_id, 4)
    one, other = (next(iter(data.batches([np.arange(33)]))) for data in (before, after))
    assert np.array_equal(one[images].flip(0), other[images])


def test_cameras_go_by_their_names(toy, dataset: Path):
    first, second = "observation.images.image", "observation.images.image2"
    features = json.loads((dataset / "meta/info.json").read_text())["features"]
    order = [{first: second, second: first}.get(key, key) for key in features]
    info(dataset, features={key: features[key] for key in order})
    assert DatasetFrames(toy.repo_id, dataset, "front").keys == [first]
    assert DatasetFrames(toy.repo_id, dataset, "wrist").keys == [second]
    assert DatasetFrames(toy.repo_id, dataset, "both").keys == [first, second]


def test_a_dataset_in_a_cache_of_the_hub_is_found_offline(toy, tmp_path: Path, monkeypatch):
    def unreachable(*_args: object, **_kwargs: object) -> None:
        raise httpx.ConnectError("[Errno -2] Name or service not known")

    cache = tmp_path / "hub"
    folder = cache / "datasets--toy--noise"
    commit = "0" * 40
    shutil.copytree(toy.dataset, folder / "snapshots" / commit)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(commit)
    monkeypatch.setattr("lerobot.datasets.dataset_metadata.get_safe_version", unreachable)
    monkeypatch.setattr(opening, "HF_LEROBOT_HOME", tmp_path / "lerobot")
    with pytest.raises(UserError, match="not on this disk, and they cannot be fetched"):
        open_dataset(toy.repo_id, None)
    monkeypatch.setattr(opening.constants, "HF_HUB_CACHE", str(cache))
    assert len(open_dataset(toy.repo_id, None)) == 33
    assert DatasetFrames(toy.repo_id, None, "front").ends[-1] == 33
