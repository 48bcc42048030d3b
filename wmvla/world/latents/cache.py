"""The cache of world latents, one fp16 row per dataset frame, and its reader."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wmvla.errors import UserError
from wmvla.files import sha256_of_file
from wmvla.world.latents.file import Figures, read_layout

CHECK = "run `lerobot-wm-latents --check` with the dataset, which writes it"
REQUIRED = {
    "dataset": dict,
    "encoder": dict,
    "camera": str,
    "window": int,
    "rows": int,
    "width": int,
    "file": dict,
    "mean": list,
    "std": list,
    "episode_ends": list,
}
"""Keys of the metadata that a reader needs, and their types in JSON."""


class BrokenMetadataError(UserError):
    """Metadata that is missing, or not what it should be."""


def latents_path(cache_dir: Path, repo_id: str, source: str, suffix: str) -> Path:
    """``<cache>/<repo id>/train_world_latents_<source>_<suffix>.fp16.npy``."""
    return cache_dir / repo_id / f"train_world_latents_{source}_{suffix}.fp16.npy"


def metadata_path(path: Path) -> Path:
    """The JSON beside a latent cache."""
    return path.with_name(path.name.removesuffix(".npy") + ".json")


def clip_rows(rows: np.ndarray, starts: np.ndarray, window: int) -> np.ndarray:
    """Frame rows (N, m) of the clips that end at ``rows`` (N,), clamped at ``starts`` (N,)."""
    return np.maximum(rows[:, None] + np.arange(1 - window, 1), starts[:, None])


def episode_bounds(ends: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last row of the episode of each of ``rows``; ``ends`` are exclusive, ascending."""
    episode = np.searchsorted(ends, rows, side="right")
    starts = np.concatenate([[0], ends[:-1]])
    return starts[episode], ends[episode] - 1


def make_metadata(
    description: dict[str, Any], ends: np.ndarray, figures: Figures, path: Path
) -> dict[str, Any]:
    """The metadata of the file ``path``: what it is said to be, and what was found in it.

    Args:
        description: ``dataset``, ``encoder``, ``camera``, ``camera_keys``, ``image_turn``,
        ``window``, ``pooling``.
    """
    stat = path.stat()
    return {
        **description,
        "rows": figures.layout.rows,
        "width": figures.layout.width,
        "file": {"bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": figures.sha256},
        "neighbour_cosine": figures.neighbour_cosine,
        "mean": figures.mean.tolist(),
        "std": figures.std.tolist(),
        "episode_ends": np.asarray(ends).tolist(),
    }


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata of the latent cache ``path``. BrokenMetadataError: missing or broken."""
    file = metadata_path(path)
    try:
        metadata = json.loads(file.read_text())
    except FileNotFoundError as error:
        raise BrokenMetadataError(f"{path} has no metadata: {CHECK}.") from error
    except (OSError, ValueError) as error:
        raise BrokenMetadataError(
            f"{file}: the latents' metadata cannot be read ({error}): {CHECK} again."
        ) from error
    found = metadata if isinstance(metadata, dict) else {}
    for key, kind in REQUIRED.items():
        if not isinstance(found.get(key), kind):
            raise BrokenMetadataError(
                f"{file}: the latents' metadata lacks {key!r}: {CHECK} again."
            )
    return found


class LatentCache:
    """Reads a latent cache by dataset ``index``, from a memory map.

    Args:
        path: the ``.npy`` file; its metadata JSON lies beside it.
        window: m that the policy asks for. width: D that the policy asks for.
        camera: ``front``, ``wrist`` or ``both``; None: not asked for.
        camera_keys: feature keys of those in the dataset; None: not known here.
        dataset: fingerprint of the dataset that is trained on; None: not known here.
        encoder: fingerprint of the rollout's encoder; None: not known here.

    UserError: missing, truncated or changed file; missing or broken metadata; other than asked for.
    Non-obvious: opening costs a look at header and size. The content was read when the metadata was
    written; a file that has been touched since (another modification time, as after a copy) is
    hashed once more, and refused when it changed. A pickled or forked cache opens its own memory
    map and checks nothing again.
    """

    def __init__(
        self,
        path: Path,
        window: int,
        width: int,
        camera: str | None = None,
        dataset: str | None = None,
        encoder: str | None = None,
        camera_keys: Sequence[str] | None = None,
    ) -> None:
        if not path.is_file():
            raise UserError(
                f"World latents are missing: {path} does not exist. Make them with"
                " lerobot-wm-latents, or set policy.cache_dir, policy.dataset_repo_id,"
                " policy.world_latents_source and policy.latent_suffix."
            )
        self.path = path
        layout = read_layout(path)
        self.metadata = read_metadata(path)
        self.ends = np.asarray(self.metadata["episode_ends"])
        if layout.width != width:
            raise UserError(
                f"{path}: the latents have width {layout.width}, but policy.world_latent_dim ="
                f" {width}."
            )
        if layout.rows != self.ends[-1]:
            raise UserError(
                f"{path}: {layout.rows} rows, but the dataset has {self.ends[-1]} frames: make the"
                " latents again."
            )
        if not len(self.metadata["mean"]) == len(self.metadata["std"]) == width:
            raise UserError(
                f"{metadata_path(path)}: the statistics are not of width {width}: delete it, and "
                f"{CHECK} again."
            )
        refuse_other(path, self.metadata, window, camera, dataset, encoder, camera_keys)
        _refuse_changed(path, self.metadata["file"])
        self._open: tuple[int, np.ndarray] | None = None

    @property
    def latents(self) -> np.ndarray:
        """The rows (N, D) in fp16, mapped by this process."""
        if self._open is None or self._open[0] != os.getpid():
            self._open = os.getpid(), np.asarray(np.load(self.path, mmap_mode="r"))
        return self._open[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": None}

    def gather(
        self, index: np.ndarray, history: int, horizon: int, episode: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows ``index`` (B,) -> history (B, T, D), future (B, K, D) as float32, validity (B, K) as
        bool. Histories are clamped at the episode's first frame, futures at its last; ``valid``
        marks the futures that lie inside. ``episode``: numbers (B,) to compare with the cache's.

        UserError: an index or an episode that this cache's dataset has not; a latent that is not
        finite.
        """
        index = np.asarray(index)
        if index.size and (index.min() < 0 or index.max() >= self.ends[-1]):
            wrong = index.max() if index.max() >= self.ends[-1] else index.min()
            raise UserError(
                f"Dataset index {wrong} lies outside the latent cache {self.path} of"
                f" {self.ends[-1]} rows: it was made from another dataset."
            )
        if episode is not None:
            known = np.searchsorted(self.ends, index, side="right")
            for row in np.flatnonzero(known != episode)[:1]:
                raise UserError(
                    f"Dataset index {index[row]} belongs to episode {episode[row]}, but in the"
                    f" latent cache {self.path} to episode {known[row]}: it was made from another"
                    " dataset."
                )
        first, last = episode_bounds(self.ends, index)
        ahead = index[:, None] + np.arange(1, horizon + 1)
        past = np.maximum(index[:, None] + np.arange(1 - history, 1), first[:, None])
        rows = np.concatenate([past, np.minimum(ahead, last[:, None])], axis=1)
        latents = self.latents[rows].astype(np.float32)
        finite = np.isfinite(latents).all(-1)
        if not finite.all():
            raise UserError(
                f"{self.path}: row {rows[~finite][0]} holds NaN or infinite values: make the"
                " latents again."
            )
        return latents[:, :history], latents[:, history:], ahead <= last[:, None]

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (D,) of the latents over the dataset."""
        return torch.tensor(self.metadata["mean"]), torch.tensor(self.metadata["std"])


def refuse_other(
    path: Path,
    metadata: dict[str, Any],
    window: int,
    camera: str | None,
    dataset: str | None,
    encoder: str | None,
    camera_keys: Sequence[str] | None,
) -> None:
    """Refuse latents that were made otherwise than asked for; None, here or in the metadata, means
    unknown.

    Raises:
        UserError: another window, camera, dataset or encoder, or images that were turned.
    """
    if metadata["window"] != window:
        raise UserError(
            f"{path}: made with windows of {metadata['window']} frames, but the policy asks for"
            f" {window}: set policy.latent_suffix."
        )
    if camera is not None and metadata["camera"] != camera:
        raise UserError(
            f"{path}: made from camera {metadata['camera']!r}, but policy.world_camera ="
            f" {camera!r}: set policy.latent_suffix."
        )
    keys = metadata.get("camera_keys")
    if None not in (camera_keys, keys) and list(camera_keys or ()) != keys:
        raise UserError(
            f"{path}: made from {', '.join(keys or ())}, but {metadata['camera']!r} is"
            f" {', '.join(camera_keys or ())} of this dataset: make the latents again."
        )
    if metadata.get("image_turn", 0) != 0:
        raise UserError(
            f"{path}: made from images that were turned by {metadata['image_turn']} degrees; the"
            " policy sees them as the dataset has them: make the latents again."
        )
    made = metadata["dataset"].get("fingerprint")
    if None not in (dataset, made) and made != dataset:
        raise UserError(
            f"{path}: made from another dataset ({metadata['dataset'].get('repo_id')}, fingerprint"
            f" {made}) than this one (fingerprint {dataset}): make the latents again."
        )
    known = metadata["encoder"].get("hash")
    if None not in (encoder, known) and known != encoder:
        raise UserError(
            f"{path}: made by another encoder ({metadata['encoder'].get('name')}, hash {known})"
            f" than the rollout's (hash {encoder}): set policy.world_vision_model_name or make the"
            " latents again."
        )


def _refuse_changed(path: Path, recorded: dict[str, Any]) -> None:
    stat = path.stat()
    if stat.st_size == recorded.get("bytes") and stat.st_mtime_ns == recorded.get("mtime_ns"):
        return
    if stat.st_size != recorded.get("bytes") or sha256_of_file(path) != recorded.get("sha256"):
        raise UserError(
            f"{path} is not the file that its metadata describes (other content): make the latents"
            f" again, or delete {metadata_path(path).name} and {CHECK}."
        )
