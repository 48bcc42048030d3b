"""The numbers of every frame of a LeRobotDataset, read from its files and looked at: in memory
whatever the dataset's size."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from lerobot.datasets import LeRobotDatasetMetadata

from wmvla.data.episodes import ends_of
from wmvla.data.lerobot_files import NO_TASK, parquet_files
from wmvla.errors import UserError
from wmvla.files import why_unreadable

VECTORS = ("observation.state", "action")
SCALARS = ("episode_index", "index", "task_index", "timestamp")
FETCH = "repair it, or fetch the dataset again."


@dataclass(frozen=True)
class Rows:
    """``state`` (N, S) and ``action`` (N, A), ``task`` (N,), and ``ends``, the exclusive end row of
    every episode."""

    state: np.ndarray
    action: np.ndarray
    task: list[str]
    ends: np.ndarray


def read_rows(metadata: LeRobotDatasetMetadata) -> Rows:
    """Every frame's numbers, in LeRobot's order.

    Raises:
        UserError: a file cannot be read; a column is missing; a number is missing or not finite; a
        frame's task has no sentence; frames are not those of the episodes in ``meta``.
    """
    root = Path(metadata.root)
    parts = [_file(file, metadata) for file in parquet_files(root / "data")]
    if not parts:
        raise UserError(f"{root}/data contains no parquet file: fetch the dataset again.")
    whole = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    ends = ends_of(metadata)
    episode = whole["episode_index"][:, 0]
    if not np.array_equal(whole["index"][:, 0], np.arange(len(episode))):
        raise UserError(
            f"The frames of {root} are not in the order of their index: fetch the dataset again."
        )
    if len(episode) != ends[-1] or not np.array_equal(
        episode, np.searchsorted(ends, np.arange(len(episode)), side="right")
    ):
        raise UserError(
            f"{root}: its data hold other frames ({len(episode)}) than meta/episodes says"
            f" ({ends[-1]}), or of other episodes: fetch the dataset again."
        )
    _refuse_other_times(metadata, whole["timestamp"][:, 0].astype(np.float64), ends)
    sentences = list(metadata.tasks.index)
    return Rows(
        whole["observation.state"],
        whole["action"],
        [sentences[number] for number in whole["task_index"][:, 0].astype(int)],
        ends,
    )


def _refuse_other_times(
    metadata: LeRobotDatasetMetadata, times: np.ndarray, ends: np.ndarray
) -> None:
    """Refuse a frame rate that is not that of the frames, and in videos, of which a frame's time
    chooses the image, a time that is another frame's."""
    root, step = Path(metadata.root), 1 / metadata.fps
    begins = np.concatenate([[0], ends[:-1]])
    steps = np.delete(np.diff(times), begins[1:] - 1)
    if len(steps) and not abs(np.median(steps) - step) < step / 2:
        raise UserError(
            f"{root / 'meta/info.json'}: fps is {metadata.fps:g}, but the frames in data are"
            f" {np.median(steps):g} s apart: {FETCH}"
        )
    wanted = (np.arange(len(times)) - np.repeat(begins, np.diff(ends, prepend=0))) * step
    wrong = np.flatnonzero(~(np.abs(times - wanted) < step / 2))
    if metadata.video_keys and len(wrong):
        row = int(wrong[0])
        raise UserError(
            f"{root}/data: the timestamp of row {row} is {times[row]:g} s, but its place in the"
            f" episode is at {wanted[row]:g} s: {FETCH}"
        )


def _file(file: Path, metadata: LeRobotDatasetMetadata) -> dict[str, np.ndarray]:
    """The columns of one file, each (N, width)."""
    wanted = [*VECTORS, *SCALARS]
    try:
        absent = [key for key in wanted if key not in pq.read_schema(file).names]
        table = None if absent else pq.read_table(file, columns=wanted)
    except (OSError, pa.ArrowException) as error:
        raise UserError(why_unreadable(file, error)) from error
    if table is None:
        raise UserError(f"{file}: the column {absent[0]} is missing: {FETCH}")
    widths = {key: int(np.prod(metadata.features[key]["shape"])) for key in VECTORS}
    found = {key: numbers(table[key], file, key, widths.get(key, 1)) for key in wanted}
    sentences, tasks = list(metadata.tasks.index), found["task_index"][:, 0]
    unknown = (tasks < 0) | (tasks >= len(sentences))
    unknown |= np.isin(tasks, [n for n, sentence in enumerate(sentences) if sentence == NO_TASK])
    if unknown.any():
        row = int(np.flatnonzero(unknown)[0])
        raise UserError(
            f"{file}: row {row} is of task_index {int(tasks[row])}, which meta/tasks.parquet does"
            f" not name: {FETCH}"
        )
    return found


def numbers(column: pa.ChunkedArray, file: Path, key: str, width: int) -> np.ndarray:
    """A column as (N, width).

    Raises:
        UserError: a value is null or not finite, or a row has another width.
    """
    rows = len(column)
    values = column.combine_chunks()
    while isinstance(values, pa.ExtensionArray):
        values = values.storage
    missing = values.null_count
    while isinstance(values.type, pa.ListType | pa.LargeListType | pa.FixedSizeListType):
        values = values.flatten()
        missing += values.null_count
    if missing:
        raise UserError(f"{file}: {key} has {missing} null values: {FETCH}")
    if not (pa.types.is_floating(values.type) or pa.types.is_integer(values.type)):
        raise UserError(f"{file}: {key} is of type {values.type}, not of numbers: {FETCH}")
    if len(values) != rows * width:
        raise UserError(
            f"{file}: {key} has {len(values)} numbers in {rows} rows, but meta/info.json says"
            f" {width} a row: {FETCH}"
        )
    found = values.to_numpy(zero_copy_only=False).reshape(rows, width)
    if not np.isfinite(found).all():
        row, place = np.argwhere(~np.isfinite(found))[0]
        raise UserError(f"{file}: {key}[{place}] of row {row} is {found[row, place]}: {FETCH}")
    return found
