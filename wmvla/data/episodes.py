"""Where the episodes of a LeRobotDataset end, whatever its metadata says.

LeRobot converted HuggingFaceVLA/libero with a bug (its issue 1919). Public reports say of that
dataset: ``dataset_to_index`` begins anew in every data file, files are named that hold other
episodes, and not every episode is listed. Trained on as it stands it gives actions and futures of
other episodes. Lengths and frames are right, and are what is read here.
"""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from lerobot.datasets import LeRobotDatasetMetadata

from wmvla.data.lerobot_files import of_episodes, parquet_files
from wmvla.errors import UserError


def ends_of(metadata: LeRobotDatasetMetadata) -> np.ndarray:
    """Exclusive end row of every episode, ascending: the sums of their lengths, or, where those do
    not add up, by the frames.

    Raises:
        UserError: neither gives the episodes and frames of ``meta/info.json``.
    """
    numbers = of_episodes(metadata.episodes, "episode_index")
    lengths = of_episodes(metadata.episodes, "length")
    ends = np.cumsum(lengths)
    wanted = (metadata.total_episodes, metadata.total_frames)
    if np.array_equal(numbers, np.arange(len(ends))) and (len(ends), ends[-1]) == wanted:
        return ends
    ends = ends_of_frames(Path(metadata.root))
    if (len(ends), ends[-1] if len(ends) else 0) != wanted:
        raise UserError(
            f"{metadata.root} lists {len(lengths)} episodes of {lengths.sum()} frames in"
            f" meta/episodes and holds {len(ends)} of {ends[-1] if len(ends) else 0} in data, but"
            f" meta/info.json says {wanted[0]} of {wanted[1]}: fetch the whole dataset again."
        )
    return ends


def ends_of_frames(root: Path) -> np.ndarray:
    """Exclusive end row of every episode by the frames' own ``episode_index``, in the order in
    which LeRobot reads them.

    Raises:
        UserError: an episode's frames do not lie together, or a frame's ``index`` is not its row.
    """
    parts = [
        pq.read_table(file, columns=["episode_index", "index"])
        for file in parquet_files(root / "data")
    ]
    episode = np.concatenate(
        [np.empty(0, int), *[part["episode_index"].to_numpy() for part in parts]]
    )
    index = np.concatenate([np.empty(0, int), *[part["index"].to_numpy() for part in parts]])
    if not np.array_equal(index, np.arange(len(index))) or (np.diff(episode) < 0).any():
        raise UserError(
            f"The frames of {root} are not in the order of their index: fetch the dataset again."
        )
    return np.append(np.flatnonzero(np.diff(episode)) + 1, len(episode))[: len(episode)]
