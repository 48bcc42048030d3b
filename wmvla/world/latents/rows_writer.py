"""Fills a file of dataset rows: resumable after a kill at any moment, in one process or several."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch import distributed

from wmvla.progress import Progress
from wmvla.world.latents.file import DTYPE
from wmvla.world.latents.partial import InUseError, Partial, Range, remaining_batches

SAVE_EVERY = 2.0
"""Seconds of work that a kill can cost."""

Make = Callable[[list[Range]], Iterator[tuple[int, np.ndarray]]]
"""Row ranges, ascending -> for each of them its first row and its rows (N, width)."""


def write_rows(
    path: Path,
    shape: tuple[int, int],
    identity: dict[str, Any],
    make: Make,
    finish: Callable[[Partial], None],
    batch_rows: int,
    progress: Callable[[int, int], Progress],
    dtype: np.dtype = DTYPE,
    group: distributed.ProcessGroup | None = None,
) -> None:
    """Make every row of the file ``path`` to be; continue where an earlier run was ended.

    Under ``torch.distributed`` every process takes a slice of what is left, and the first finishes
    the file. The bytes are the same for any number of processes, where ``make`` gives the same for
    the same range.

    Args:
        shape: rows and width. identity: what decides the content. finish: gives the whole file its
        name, in the first process. batch_rows: rows of one range. progress: rows in all, and done
        already -> the line for the first process. group: of the processes; by default all.

    UserError: begun with another identity. InUseError: being made by another run; in all processes.
    """
    rank, processes = 0, 1
    if distributed.is_initialized():
        rank, processes = distributed.get_rank(), distributed.get_world_size()
    rows, _ = shape
    opened = _open_in_turn(path, shape, identity, rank, processes, dtype, group)
    with contextlib.closing(opened) as unfinished:
        done = unfinished.finished()
        if processes > 1:
            # nobody records new rows before everybody has read the old ones
            distributed.barrier(group)
        left = remaining_batches(rows, batch_rows, done)
        mine = left[rank * len(left) // processes : (rank + 1) * len(left) // processes]
        already = rows - sum(last - first for first, last in left)
        shown = progress(rows, already) if rank == 0 else None
        started = saved = time.monotonic()
        fresh = 0
        for first, made in make(mine):
            unfinished.write(first, made)
            fresh += len(made) * processes  # the others go at the same speed
            now = time.monotonic()
            if now - saved >= SAVE_EVERY:
                unfinished.save()
                saved = time.monotonic()
            if shown:
                speed = f"{fresh / max(now - started, 1e-9):.0f} rows/s"
                shown.update(min(already + fresh, rows), speed)
        unfinished.save()
        if processes > 1:
            distributed.barrier(group)
        if rank == 0:
            finish(unfinished)


def _open_in_turn(
    path: Path,
    shape: tuple[int, int],
    identity: dict[str, Any],
    rank: int,
    processes: int,
    dtype: np.dtype,
    group: distributed.ProcessGroup | None,
) -> Partial:
    """The first process lays the file out; the others hear whether it could, and open it then."""
    refusal: list[str | None] = [None]
    opened: Partial | None = None
    try:
        if rank == 0:
            opened = Partial(path, *shape, identity, rank, dtype)
    except InUseError as error:
        refusal = [str(error)]
    if processes > 1:
        distributed.broadcast_object_list(refusal, 0, group)
    if refusal[0] is not None:
        raise InUseError(refusal[0])
    return opened or Partial(path, *shape, identity, rank, dtype)
