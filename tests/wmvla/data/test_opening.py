"""A dataset that is not whole is refused in one line that names file, key and fix; what is only
unusual is read for what it is."""

import json
import os
import shutil
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
from wmvla.data.lerobot_files import read_as_stored
from wmvla.data.opening import open_dataset
from wmvla.errors import UserError

from . import damaged
from .damaged import REFUSED, change_column, info

PAGE_NAME = "docs/datasets.md"
PAGE = (Path(__file__).parents[3] / PAGE_NAME).read_text()


@pytest.fixture
def dataset(toy, tmp_path: Path) -> Path:
    """A copy of the toy's, to be spoilt."""
    return Path(shutil.copytree(toy.dataset, tmp_path / "dataset"))


@pytest.mark.parametrize(("spoil", "said"), REFUSED, ids=[spoil.__name__ for spoil, _ in REFUSED])
def test_what_is_not_whole_is_refused_in_one_line(toy, dataset: Path, spoil, said: str):
    spoil(dataset)
    with pytest.raises(UserError, match=said) as caught:
        open_dataset(toy.repo_id, dataset)
    line = str(caught.value)
    assert "\n" not in line
    assert str(dataset) in line
    row = f"| {spoil.__name__.replace('_', ' ')} | `{line.replace('`', '').replace(str(dataset), 'DATASET')}` |"
    assert row in PAGE.splitlines(), f"{PAGE_NAME} must have the row:\n{row}"


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


def test_lerobots_own_training_sees_episodes_as_long_as_they_are(toy, dataset: Path):
    (path,) = dataset.glob("meta/episodes/*/*.parquet")
    table = pq.read_table(path)
    for name in ("dataset_from_index", "dataset_to_index"):
        began_anew = pa.array([0, 0] if "from" in name else table["length"].to_pylist())
        table = table.set_column(table.column_names.index(name), name, began_anew)
    pq.write_table(table, path)
    ahead = {"action": [step / 20 for step in range(4)]}
    with read_as_stored():
        stored = LeRobotDataset(
            toy.repo_id, root=dataset, video_backend="pyav", delta_timestamps=ahead
        )
    (ours,) = open_data(toy.dataset, toy.repo_id, 4).batches([np.arange(33)])
    for row in (15, 19, 20, 31):
        assert np.array_equal(stored[row]["action"], ours["action"][row]), row


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
    assert len(open_dataset(toy.repo_id, None)[0]) == 33
    assert DatasetFrames(toy.repo_id, None, "front").ends[-1] == 33


@pytest.mark.parametrize(
    ("begin", "end", "said"),
    [
        (0.4, 1.0, "episode 1 at 0.4 s to 1 s of this video, before episode 0 ends at 0.9 s"),
        (1.4, 1.5, "episode 1 at 1.4 s to 1.5 s of this video, but lasts 0.6 s"),
        (1.4, 2.0, "episode 1 at 1.4 s to 2 s of this video, of 1.5 s"),
    ],
)
def test_times_of_merged_videos_that_contradict_themselves_are_refused(
    video_dataset: Path, tmp_path: Path, begin: float, end: float, said: str
):
    copy = Path(shutil.copytree(video_dataset, tmp_path / "dataset"))
    (path,) = copy.glob("meta/episodes/*/*.parquet")
    table = pq.read_table(path)
    for name, value in (("from", begin), ("to", end)):
        key = f"videos/observation.images.image2/{name}_timestamp"
        values = pa.array([table[key][0].as_py(), value])
        table = table.set_column(table.column_names.index(key), key, values)
    pq.write_table(table, path)
    with pytest.raises(UserError, match=said):
        DatasetFrames("toy/video", copy, "front")


def test_a_frame_of_a_video_at_another_frames_time_is_refused(video_dataset: Path, tmp_path: Path):
    copy = Path(shutil.copytree(video_dataset, tmp_path / "dataset"))
    change_column(copy, "timestamp", lambda values: values.__setitem__(11, 0.4))
    with pytest.raises(UserError, match=r"the timestamp of row 11 is 0.4 s, but .* is at 0.2 s"):
        open_dataset("toy/video", copy)


def test_a_video_that_is_a_pointer_is_called_one(video_dataset: Path, tmp_path: Path):
    copy = Path(shutil.copytree(video_dataset, tmp_path / "dataset"))
    next(copy.glob("videos/*/*/*.mp4")).write_text(damaged.POINTER)
    with pytest.raises(UserError, match=r"file-000.mp4 is a Git LFS pointer"):
        open_dataset("toy/video", copy)


def test_an_image_that_cannot_be_read_is_named(toy, dataset: Path):
    key = "observation.images.image2"
    change_column(dataset, key, lambda cells: cells[7].update(bytes=cells[7]["bytes"][:200]))
    with pytest.raises(UserError, match=rf"the image {key} of row 7 cannot be read"):
        open_data(dataset, toy.repo_id, 4)
