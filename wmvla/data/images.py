"""Camera images of a LeRobotDataset by row, as bytes; only what is asked for is decoded."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Image as ImageFeature
from lerobot.datasets import LeRobotDataset
from lerobot.datasets.video_utils import decode_video_frames
from PIL import Image
from torch import Tensor

from wmvla.errors import UserError, cause


class StoredImages:
    """Images of the cameras ``keys``, stored one by one or in videos; ``ends`` of episodes are
    exclusive rows."""

    def __init__(self, dataset: LeRobotDataset, keys: Sequence[str], ends: np.ndarray) -> None:
        self.keys, self.ends = list(keys), ends
        self.metadata, self.root, self.tolerance = dataset.meta, dataset.root, dataset.tolerance_s
        single = [key for key in keys if key not in dataset.meta.video_keys]
        self.table = dataset.hf_dataset.with_format(None).select_columns([*single, "timestamp"])
        for key in single:
            self.table = self.table.cast_column(key, ImageFeature(decode=False))

    def read(self, rows: np.ndarray) -> list[Tensor]:
        """For each camera the images of ``rows`` (N,), in their order: uint8 (N, 3, H, W)."""
        first = int(rows[0])
        consecutive = bool((rows == first + np.arange(len(rows))).all())
        cells = self.table[first : first + len(rows)] if consecutive else self.table[rows.tolist()]
        times = np.asarray(cells["timestamp"], np.float64).reshape(-1)
        return [
            torch.stack([self._decode(key, *cell) for cell in zip(rows, cells[key], strict=True)])
            if key in cells
            else self._decode_video(key, rows, times)
            for key in self.keys
        ]

    def _decode(self, key: str, row: int, cell: dict[str, Any]) -> Tensor:
        try:
            return decode_image(cell)
        except Exception as error:
            raise UserError(
                f"{self.root}: the image {key} of row {row} cannot be read ({cause(error)}): fetch"
                " the dataset again."
            ) from error

    def _decode_video(self, key: str, rows: np.ndarray, timestamps: np.ndarray) -> Tensor:
        """One run of the decoder for each stretch of consecutive rows of an episode: it keeps all
        frames between the first and the last of a run."""
        episodes = np.searchsorted(self.ends, rows, side="right")
        cuts = np.flatnonzero((np.diff(rows) != 1) | (np.diff(episodes) != 0)) + 1
        parts = []
        for run in np.split(np.arange(len(rows)), cuts):
            number = int(episodes[run[0]])
            start = self.metadata.episodes[number][f"videos/{key}/from_timestamp"]
            path = self.root / self.metadata.get_video_file_path(number, key)
            times = [float(start + time) for time in timestamps[run]]
            try:
                parts.append(
                    decode_video_frames(path, times, self.tolerance, "pyav", return_uint8=True)
                )
            except Exception as error:
                raise UserError(
                    f"{path}: the frames of episode {number} at {times[0]:g} s to {times[-1]:g} s"
                    f" cannot be read ({cause(error)}): fetch the dataset again."
                ) from error
        return torch.cat(parts)


def decode_image(cell: dict[str, Any]) -> Tensor:
    """One stored image as uint8 (3, H, W)."""
    stored = cell["bytes"] if cell["bytes"] is not None else Path(cell["path"]).read_bytes()
    with Image.open(io.BytesIO(stored)) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
