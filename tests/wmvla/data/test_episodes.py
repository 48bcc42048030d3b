"""Ends of episodes where a dataset's metadata is wrong, as that of the published one is told to
be."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wmvla.data.dataset import open_data
from wmvla.data.episodes import ends_of, ends_of_frames
from wmvla.data.opening import open_metadata
from wmvla.errors import UserError


@pytest.fixture
def dataset(toy, tmp_path: Path) -> Path:
    """A copy of the toy's, to be spoilt."""
    return Path(shutil.copytree(toy.dataset, tmp_path / "dataset"))


def change(dataset: Path, pattern: str, key: str, values: list[int]) -> None:
    (file,) = dataset.glob(pattern)
    table = pq.read_table(file)
    pq.write_table(
        table.set_column(table.column_names.index(key), key, pa.array(values, pa.int64())), file
    )


EPISODES, FRAMES = "meta/episodes/*/*.parquet", "data/*/*.parquet"


def test_ends_are_those_of_the_metadata_where_it_is_right(toy, dataset: Path) -> None:
    metadata = open_metadata(dataset, toy.repo_id)
    written = list(metadata.episodes["dataset_to_index"])
    assert ends_of(metadata).tolist() == written == ends_of_frames(dataset).tolist()


def test_ends_that_begin_anew_in_every_file_are_not_believed(toy, dataset: Path) -> None:
    metadata = open_metadata(dataset, toy.repo_id)
    right, lengths = ends_of(metadata), list(metadata.episodes["length"])
    actions = next(iter(open_data(dataset, toy.repo_id, 4).batches([np.arange(right[-1])])))
    change(dataset, EPISODES, "dataset_from_index", [0] * len(lengths))
    change(dataset, EPISODES, "dataset_to_index", lengths)
    assert ends_of(open_metadata(dataset, toy.repo_id)).tolist() == right.tolist()
    again = next(iter(open_data(dataset, toy.repo_id, 4).batches([np.arange(right[-1])])))
    assert np.array_equal(actions["action"], again["action"])
    assert np.array_equal(actions["action_is_pad"], again["action_is_pad"])


def test_where_the_metadata_lacks_episodes_the_frames_tell(toy, dataset: Path) -> None:
    right = ends_of(open_metadata(dataset, toy.repo_id))
    (file,) = dataset.glob(EPISODES)
    pq.write_table(pq.read_table(file).slice(1), file)
    assert ends_of(open_metadata(dataset, toy.repo_id)).tolist() == right.tolist()


def test_a_dataset_of_which_frames_are_missing_is_refused(toy, dataset: Path) -> None:
    info = dataset / "meta" / "info.json"
    info.write_text(json.dumps(json.loads(info.read_text()) | {"total_frames": 1000}))
    with pytest.raises(
        UserError, match=r"but meta/info.json says \d+ of 1000: fetch the whole dataset again"
    ):
        ends_of(open_metadata(dataset, toy.repo_id))


def test_frames_out_of_order_are_refused(toy, dataset: Path) -> None:
    (file,) = dataset.glob(FRAMES)
    change(dataset, FRAMES, "index", pq.read_table(file)["index"].to_pylist()[::-1])
    with pytest.raises(UserError, match="not in the order of their index"):
        ends_of_frames(dataset)
