"""Judges a latent file that was made elsewhere, and writes the metadata that a policy needs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from wmvla.data.frames import DatasetFrames
from wmvla.errors import UserError
from wmvla.files import write_json
from wmvla.world.encoder import WorldEncoder
from wmvla.world.latents.cache import (
    BrokenMetadataError,
    make_metadata,
    metadata_path,
    read_metadata,
    refuse_other,
)
from wmvla.world.latents.file import Figures, examine, read_layout
from wmvla.world.latents.stream import stream_latents
from wmvla.world.latents.writer import describe

SAMPLED_ROWS = 16
LEAST_AGREEMENT = 0.97
"""Measured on LIBERO frames with a random V-JEPA 2: 1.00 for equal windows, 0.94 for others."""


@dataclass(frozen=True)
class Asked:
    """What the latents should be; ``width``, ``dataset`` and ``encoder`` if they are known."""

    window: int
    camera: str
    width: int | None
    frames: DatasetFrames | None
    encoder: WorldEncoder | None


@dataclass(frozen=True)
class Finding:
    """``objection``: why the file cannot be used, if so. ``agreement``: see ``agreement_with``."""

    figures: Figures | None
    agreement: float | None
    objection: str | None


def check_latents(path: Path, asked: Asked) -> Finding:
    """Look at every value of ``path`` once; with a dataset, and nothing to object to, write its
    metadata.

    Non-obvious: metadata that is there and whole is believed and never replaced by a weaker one;
    only the file's stamp (its modification time) is brought up to date. Metadata that cannot be
    read is written anew.
    """
    frames, encoder = asked.frames, asked.encoder
    try:
        rows = read_layout(path).rows
    except UserError as error:
        return Finding(None, None, str(error))
    metadata = _metadata(path)
    ends = np.asarray(metadata["episode_ends"]) if metadata else frames.ends if frames else None
    figures = examine(path, ends if ends is not None and ends[-1] == rows else None)
    objection = _objection(path, asked, figures, metadata)
    if objection or frames is None:
        return Finding(figures, None, objection)
    agreement = agreement_with(path, figures, frames, encoder, asked.window) if encoder else None
    if encoder and agreement is not None and agreement < LEAST_AGREEMENT:
        return Finding(
            figures,
            agreement,
            f"{_who_made_it(path, figures, frames, encoder, asked.window)} made it: the encoder"
            f" gives other latents from the dataset's frames (agreement {agreement:.3f}, at least"
            f" {LEAST_AGREEMENT} is needed)",
        )
    if metadata is None or (encoder and metadata["encoder"].get("hash") is None):
        metadata = describe(frames, encoder, asked.window)
    write_json(metadata_path(path), make_metadata(metadata, frames.ends, figures, path))
    return Finding(figures, agreement, None)


def _objection(
    path: Path, asked: Asked, figures: Figures, metadata: dict[str, Any] | None
) -> str | None:
    """Why the file cannot be used, from what it holds and what its metadata says."""
    if asked.width is not None and figures.layout.width != asked.width:
        return (
            f"its latents have width {figures.layout.width}, but policy.world_latent_dim ="
            f" {asked.width}"
        )
    if asked.frames is not None and figures.layout.rows != asked.frames.ends[-1]:
        return (
            f"it has {figures.layout.rows} rows, but the dataset {asked.frames.repo_id} has"
            f" {asked.frames.ends[-1]} frames"
        )
    if figures.objection or metadata is None:
        return figures.objection
    dataset = asked.frames.fingerprint if asked.frames else None
    encoder = asked.encoder.fingerprint() if asked.encoder else None
    try:
        keys = asked.frames.keys if asked.frames else None
        refuse_other(path, metadata, asked.window, asked.camera, dataset, encoder, keys)
    except UserError as error:
        return str(error)
    if metadata["file"].get("sha256") != figures.sha256:
        return (
            f"it is not the file that {metadata_path(path).name} describes; delete that if you"
            " trust the file"
        )
    return None


class _Turned(DatasetFrames):
    """The same frames, turned by 180 degrees, as LIBERO's simulator draws them."""

    def __init__(self, frames: DatasetFrames) -> None:
        self.__dict__.update(frames.__dict__)

    def read(self, first: int, last: int) -> list[Tensor]:
        return [images.flip(-2, -1) for images in super().read(first, last)]


def _who_made_it(
    path: Path, figures: Figures, frames: DatasetFrames, encoder: WorldEncoder, window: int
) -> str:
    if agreement_with(path, figures, _Turned(frames), encoder, window) >= LEAST_AGREEMENT:
        return "this encoder from images turned by 180 degrees"
    return "another encoder, window, camera or dataset"


def agreement_with(
    path: Path, figures: Figures, frames: DatasetFrames, encoder: WorldEncoder, window: int
) -> float:
    """Mean cosine of ``SAMPLED_ROWS`` stored latents, standardised, with those of ``encoder``.

    Non-obvious: raw latents of one scene all point the same way, whatever the window; what differs
    between frames shows only when the mean is taken away.
    """
    rows = np.unique(np.linspace(0, figures.layout.rows - 1, SAMPLED_ROWS).astype(int))
    stored = np.load(path, mmap_mode="r")[rows].astype(np.float64)
    ranges = [(row, row + 1) for row in rows]
    streamed = stream_latents(frames, encoder, window, ranges)
    made = [latents[0].cpu().numpy() for _, latents in streamed]
    if made[0].shape != stored[0].shape:
        return 0.0
    scale = np.maximum(figures.std, 1e-6)
    a, b = (stored - figures.mean) / scale, (np.stack(made) - figures.mean) / scale
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(((a * b).sum(1) / np.maximum(lengths, 1e-12)).mean())


def _metadata(path: Path) -> dict[str, Any] | None:
    if not metadata_path(path).exists():
        return None
    try:
        return read_metadata(path)
    except BrokenMetadataError:
        return None
