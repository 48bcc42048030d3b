"""How LeRobot reads a dataset's files here: hidden files are no data, a copy belongs to one
content, and row n of the tasks is task number n."""

import functools
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import datasets
import numpy as np
import pandas as pd
import pyarrow.dataset
from lerobot.datasets import dataset_metadata, dataset_reader, io_utils
from lerobot.utils.utils import SuppressProgressBars

from wmvla.errors import UserError
from wmvla.files import sha256_of_file, why_unreadable

MOST_TASKS = 1_000_000
NO_TASK = ""
"""Sentence of a task number that the table of tasks leaves out."""


def parquet_files(folder: Path) -> list[Path]:
    """The files ``<folder>/*/*.parquet`` in LeRobot's order.

    Non-obvious: macOS leaves a ``._name.parquet`` beside each file on a disk that is not its own,
    and a glob finds it.
    """
    return [file for file in sorted(folder.glob("*/*.parquet")) if not file.name.startswith(".")]


@contextmanager
def read_as_stored() -> Iterator[None]:
    """LeRobot opens datasets inside the block by the functions of this module."""
    with (
        mock.patch.object(io_utils, "load_nested_dataset", load_nested_dataset),
        mock.patch.object(dataset_reader, "load_nested_dataset", load_nested_dataset),
        mock.patch.multiple(dataset_metadata, load_tasks=load_tasks, load_episodes=load_episodes),
    ):
        yield


def load_nested_dataset(
    pq_dir: Path, features: datasets.Features | None = None, episodes: list[int] | None = None
) -> datasets.Dataset:
    """LeRobot's function of this name, but for hidden files and the place of the Arrow copy.

    Non-obvious: ``datasets`` knows a copy by the files' paths and modification times, and would
    serve the rows of a dataset that was replaced by one with equal times, as rsync and cp -p do.

    Raises:
        FileNotFoundError: there is no file. UserError: one cannot be read.
    """
    files = parquet_files(pq_dir)
    if not files:
        raise FileNotFoundError(f"{pq_dir} contains no parquet file")
    for file in files:
        _require_parquet(file)
    chosen = pyarrow.dataset.field("episode_index").isin(episodes) if episodes else None
    copy = Path(datasets.config.HF_DATASETS_CACHE) / "by_content" / _content(files)
    with SuppressProgressBars():
        return datasets.Dataset.from_parquet(
            [str(file) for file in files], filters=chosen, features=features, cache_dir=str(copy)
        )


def load_episodes(root: Path) -> datasets.Dataset:
    """LeRobot's function of this name; each episode begins where the one before it ends.

    Non-obvious: LeRobot gives a frame actions up to ``dataset_to_index``, which in some published
    datasets begins anew in every file (``wmvla.data.episodes``).
    """
    episodes = io_utils.load_episodes(root)
    numbers, lengths = of_episodes(episodes, "episode_index"), of_episodes(episodes, "length")
    ends = np.cumsum(lengths)
    if not np.array_equal(numbers, np.arange(len(ends))):
        return episodes
    for name, right in (("dataset_from_index", ends - lengths), ("dataset_to_index", ends)):
        if not np.array_equal(of_episodes(episodes, name), right):
            episodes = episodes.remove_columns(name).add_column(name, right.tolist())
    return episodes


def of_episodes(episodes: datasets.Dataset, key: str) -> np.ndarray:
    """A column of ``meta/episodes``, without the detour by one object a cell.

    Raises:
        UserError: there is none.
    """
    if key not in episodes.column_names:
        raise UserError(f"meta/episodes has no column {key}: fetch the dataset again.")
    return episodes.with_format("arrow")[:][key].to_numpy()


def load_tasks(root: Path) -> pd.DataFrame:
    """The sentences of a dataset, ``task`` as index and ``task_index`` as column, row n that of
    number n.

    Non-obvious: LeRobot takes a frame's sentence from the row of its number, whatever number stands
    in that row; and for a table whose sentences are a column, it takes the row's number for them.

    Raises:
        FileNotFoundError: there is no such file. UserError: it is no table of tasks.
    """
    path = root / "meta" / "tasks.parquet"
    _require_parquet(path)
    try:
        table = pd.read_parquet(path)
    except Exception as error:
        raise UserError(why_unreadable(path, error)) from error
    for column in ("task", "__index_level_0__"):
        if column in table:
            table = table.set_index(column)
    sentences, numbers = list(table.index), list(table.get("task_index", []))
    sound = (
        len(sentences) == len(numbers)
        and all(isinstance(sentence, str) and sentence for sentence in sentences)
        and all(isinstance(n, int) and 0 <= n < MOST_TASKS for n in numbers)
        and len(set(numbers)) == len(numbers)
    )
    if not sound:
        raise UserError(
            f"{path}: it does not give each task_index one sentence (found the columns"
            f" {', '.join(map(str, [table.index.name, *table.columns]))}): write it with the column"
            " task_index and the sentences as an index named task, or fetch the dataset again."
        )
    named = dict(zip(numbers, sentences, strict=True))
    rows = range(max(numbers) + 1) if numbers else []
    index = pd.Index([named.get(number, NO_TASK) for number in rows], name="task")
    return pd.DataFrame({"task_index": list(rows)}, index=index)


def _require_parquet(file: Path) -> None:
    try:
        pyarrow.parquet.read_metadata(file)
    except FileNotFoundError:
        raise
    except (OSError, pyarrow.ArrowException) as error:
        raise UserError(why_unreadable(file, error)) from error


def _content(files: Sequence[Path]) -> str:
    """Hash of the files' content, 16 hex digits."""
    stats = ((file, file.stat()) for file in files)
    return _hash(
        tuple((file, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for file, s in stats)
    )


@functools.lru_cache
def _hash(files: tuple[tuple[Path, int, int, int, int], ...]) -> str:
    """Read once in a process; what was replaced since has another inode or time of change."""
    whole = hashlib.sha256()
    for path, *_ in files:
        whole.update(bytes.fromhex(sha256_of_file(path)))
    return whole.hexdigest()[:16]
