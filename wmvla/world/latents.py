"""The cache of world latents: one fp16 row per dataset frame, at the path of PROTOCOL.md, and its reader."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wmvla.errors import UserError
from wmvla.files import write_json
from wmvla.world.encoder import WorldEncoder

BATCH_CLIPS = 64


def latents_path(cache_dir: Path, repo_id: str, source: str, suffix: str) -> Path:
    """``<cache>/<repo id>/train_world_latents_<source>_<suffix>.fp16.npy``."""
    return cache_dir / repo_id / f"train_world_latents_{source}_{suffix}.fp16.npy"


def metadata_path(path: Path) -> Path:
    """The JSON beside a latent cache."""
    return path.with_name(path.name.removesuffix(".npy") + ".json")


def clip_rows(rows: np.ndarray, starts: np.ndarray, window: int) -> np.ndarray:
    """Frame rows (N, m) of the clips that end at ``rows`` (N,), clamped at the episode starts (N,)."""
    return np.maximum(rows[:, None] + np.arange(1 - window, 1), starts[:, None])


def episode_bounds(ends: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last row of the episode that each of ``rows`` belongs to; ``ends`` are exclusive, ascending."""
    episode = np.searchsorted(ends, rows, side="right")
    starts = np.concatenate([[0], ends[:-1]])
    return starts[episode], ends[episode] - 1


def write_latents(
    path: Path,
    frames: Callable[[np.ndarray], Tensor],
    episode_ends: np.ndarray,
    encoder: WorldEncoder,
    window: int,
    description: dict[str, Any],
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Encode every dataset row and write the cache and its metadata, each atomically.

    Args:
        path: where the cache goes.
        frames: dataset rows (N,) -> frames (N, 3, H, W).
        episode_ends: exclusive end row of each episode.
        description: what else the metadata says (encoder, dataset, camera).
        progress: called with rows done and rows in all.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    count = int(episode_ends[-1])
    latents = np.empty((count, encoder.width), np.float16)
    for first in range(0, count, BATCH_CLIPS):
        rows = np.arange(first, min(first + BATCH_CLIPS, count))
        clips = clip_rows(rows, episode_bounds(episode_ends, rows)[0], window)
        needed, position = np.unique(clips, return_inverse=True)
        prepared = encoder.preprocess(frames(needed))
        batch = encoder.encode(prepared[torch.from_numpy(position.reshape(clips.shape))])
        latents[rows] = batch.cpu().numpy().astype(np.float16)
        if progress:
            progress(int(rows[-1]) + 1, count)
    if not np.isfinite(latents).all():
        raise UserError(f"The world encoder gave latents that are not finite; {path} was not written.")
    exact = latents.astype(np.float64)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    with unfinished.open("wb") as file:
        np.save(file, latents)
    path.unlink(missing_ok=True)  # an older cache must not be found beside the new metadata
    write_json(
        metadata_path(path),
        {
            **description,
            "rows": count,
            "width": encoder.width,
            "window": window,
            "pooling": "mean",
            "episode_ends": episode_ends.tolist(),
            "mean": exact.mean(0).tolist(),
            "std": exact.std(0).tolist(),
        },
    )
    unfinished.replace(path)


class LatentCache:
    """Reads a latent cache by dataset ``index``, from a memory map.

    Args:
        path: the ``.npy`` file; its metadata JSON lies beside it.
        window: m that the policy asks for. width: D that the policy asks for.

    Raises:
        UserError: missing file or metadata; other window, width or length than asked.
    """

    def __init__(self, path: Path, window: int, width: int) -> None:
        if not path.is_file():
            raise UserError(
                f"World latents are missing: {path} does not exist. Make them first (the case 'latents'), or set"
                " policy.cache_dir and policy.dataset_repo_id."
            )
        self.metadata = read_metadata(path)
        self.latents = np.load(path, mmap_mode="r")
        self.ends = np.asarray(self.metadata["episode_ends"])
        if self.latents.ndim != 2 or self.latents.shape[1] != width:
            raise UserError(f"{path}: the latents have shape {self.latents.shape}, but policy.world_latent_dim = {width}.")
        if len(self.latents) != self.ends[-1]:
            raise UserError(
                f"{path}: {len(self.latents)} rows, but the dataset has {self.ends[-1]} frames: make the latents again."
            )
        if self.metadata["window"] != window:
            raise UserError(
                f"{path}: made with windows of {self.metadata['window']} frames, but the policy asks for {window}:"
                " set policy.latent_suffix."
            )

    def gather(self, index: np.ndarray, history: int, horizon: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows ``index`` (B,) -> history (B, T, D), future (B, K, D) as float32, validity (B, K) as bool.

        Histories are clamped at the episode's first frame, futures at its last; ``valid`` marks the futures that lie inside.
        """
        index = np.asarray(index)
        if index.size and (index.min() < 0 or index.max() >= self.ends[-1]):
            raise UserError(
                f"Dataset index {index.max()} lies outside the latent cache of {self.ends[-1]} rows: it was made from"
                " another dataset."
            )
        first, last = episode_bounds(self.ends, index)
        past = np.maximum(index[:, None] + np.arange(1 - history, 1), first[:, None])
        ahead = index[:, None] + np.arange(1, horizon + 1)
        valid = ahead <= last[:, None]
        future = np.minimum(ahead, last[:, None])
        return self.latents[past].astype(np.float32), self.latents[future].astype(np.float32), valid

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (D,) of the latents over the dataset."""
        return torch.tensor(self.metadata["mean"]), torch.tensor(self.metadata["std"])


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata of the latent cache ``path``.

    Raises:
        UserError: missing or broken.
    """
    metadata = metadata_path(path)
    try:
        return json.loads(metadata.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise UserError(f"{metadata}: the latents' metadata cannot be read ({error}).") from error
