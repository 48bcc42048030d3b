"""Makes a latent cache: streaming, resumable (``rows_writer``), and atomic at its end."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import distributed

from wmvla.data.frames import DatasetFrames
from wmvla.errors import UserError
from wmvla.files import sync_folder, write_json
from wmvla.progress import Progress
from wmvla.world.encoder import WorldEncoder
from wmvla.world.latents.cache import make_metadata, metadata_path, read_metadata, refuse_other
from wmvla.world.latents.file import examine, read_layout
from wmvla.world.latents.partial import Partial, Range, remove_records
from wmvla.world.latents.rows_writer import write_rows
from wmvla.world.latents.stream import stream_latents

BATCH_ROWS = 64


def describe(frames: DatasetFrames, encoder: WorldEncoder | None, window: int) -> dict[str, Any]:
    """What decides the content of a cache, as its metadata says it; of an unknown encoder nothing.

    ``image_turn``: degrees by which the dataset's images were turned before they were encoded.
    """
    return {
        "dataset": {"repo_id": frames.repo_id, "fingerprint": frames.fingerprint},
        "encoder": {
            "name": encoder and encoder.name,
            "kind": encoder and encoder.kind,
            "revision": encoder and encoder.revision,
            "hash": encoder and encoder.fingerprint(),
        },
        "camera": frames.camera,
        "camera_keys": list(frames.keys),
        "image_turn": 0,
        "window": window,
        "pooling": encoder.pooling if encoder else "unknown",
    }


def write_latents(
    path: Path,
    frames: DatasetFrames,
    encoder: WorldEncoder,
    window: int,
    batch_rows: int = BATCH_ROWS,
    progress: Callable[[int, int], Progress] | None = None,
) -> None:
    """Encode every row of ``frames`` and write the cache ``path`` and its metadata; continue where
    an earlier run was ended. ``progress`` as in ``write_rows``; by default on standard error.

    Under ``torch.distributed`` every process takes a slice of what is left, and the first finishes
    the file. The bytes are the same for any number of processes. A cache that is finished already,
    and made of the same, is left as it is.

    UserError: ``path`` holds, or was begun with, other latents; the window does not suit the
    encoder; the encoder's output is not finite or all zeros.
    """
    encoder.check_window(window)
    description = describe(frames, encoder, window)
    if path.exists():
        refuse_unlike(path, description)
        if not distributed.is_initialized() or distributed.get_rank() == 0:
            remove_records(path)  # of a run that was killed right behind its end
        return

    def make(ranges: list[Range]) -> Iterator[tuple[int, np.ndarray]]:
        for first, latents in stream_latents(frames, encoder, window, ranges):
            with np.errstate(over="ignore"):  # what is too large for fp16 is refused below
                rows = latents.cpu().numpy().astype(np.float16)
            _refuse_unsound(rows, first, encoder, path)
            yield first, rows

    shape = int(frames.ends[-1]), encoder.width * len(frames.keys)
    finish = partial(_finish, ends=frames.ends, description=description)
    shown = progress or partial(Progress, "latents")
    write_rows(path, shape, identity(description), make, finish, batch_rows, shown)


def identity(description: dict[str, Any]) -> dict[str, Any]:
    """The part of a description in which two caches differ; an encoder's folder may move."""
    return {
        "dataset": description["dataset"]["fingerprint"],
        "encoder": description["encoder"]["hash"],
        "camera": description["camera"],
        "camera_keys": description["camera_keys"],
        "window": description["window"],
    }


def refuse_unlike(path: Path, description: dict[str, Any]) -> None:
    """UserError unless the finished cache ``path`` is one of ``description``, as far as its
    metadata knows."""
    read_layout(path)
    refuse_other(path, read_metadata(path), **identity(description))


def _refuse_unsound(rows: np.ndarray, first: int, encoder: WorldEncoder, path: Path) -> None:
    wrong = ~np.isfinite(rows).all(1) | ~rows.any(1)
    if wrong.any():
        raise UserError(
            f"The world encoder {encoder.name!r} gave a latent that is not finite in fp16, or all"
            f" zeros, for row {first + np.flatnonzero(wrong)[0]}: {path} was not finished."
        )


def _finish(unfinished: Partial, ends: np.ndarray, description: dict[str, Any]) -> None:
    """Metadata, then the file under its name, then the records: any kill can be continued."""
    figures = examine(unfinished.partial, ends)
    if figures.objection:
        raise UserError(
            f"{unfinished.partial}: {figures.objection}; delete it and its records to start over."
        )
    metadata = make_metadata(description, ends, figures, unfinished.partial)
    write_json(metadata_path(unfinished.path), metadata)
    unfinished.partial.replace(unfinished.path)
    sync_folder(unfinished.path.parent)
    remove_records(unfinished.path)
