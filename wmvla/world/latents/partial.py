"""The unfinished latent cache: a preallocated ``.npy`` and a record of the rows that are done.

``.<name>.partial`` holds the rows, ``.<name>.progress-<rank>.json`` says for each process which row
ranges it has finished. A killed run leaves both, and the next one continues from them: only what a
record names counts as done.
"""

import io
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from filelock import lock_descriptor

from wmvla.errors import UserError
from wmvla.files import write_at, write_json
from wmvla.world.latents.file import DTYPE, Layout, read_layout

Range = tuple[int, int]
"""First row and last row, exclusive."""


class InUseError(UserError):
    """Another run is making this very file."""


def partial_path(path: Path) -> Path:
    """The unfinished file of the cache ``path``."""
    return path.with_name(f".{path.name}.partial")


def record_paths(path: Path) -> list[Path]:
    """Every process's record of the unfinished cache ``path``."""
    return sorted(path.parent.glob(f".{path.name}.progress-*.json"))


def remove_records(path: Path) -> None:
    """Forget every process's record of the cache ``path``."""
    for record in record_paths(path):
        record.unlink(missing_ok=True)


def merge(ranges: Iterable[Range]) -> list[Range]:
    """The same rows in as few ascending ranges as possible."""
    merged: list[Range] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(last, merged[-1][1])
        else:
            merged.append((first, last))
    return merged


def remaining_batches(rows: int, size: int, done: Iterable[Range]) -> list[Range]:
    """What is left of ``rows`` rows, cut at the multiples of ``size``.

    Non-obvious: the cuts do not depend on processes or interruptions, and so neither does a batch's
    content: a matrix product's last bits depend on how many rows it has.
    """
    left, start = [], 0
    for first, last in [*merge(done), (rows, rows)]:
        left.append((start, first))
        start = last
    return [
        (max(a, cut), min(b, cut + size))
        for a, b in left
        if a < b
        for cut in range(a // size * size, b, size)
    ]


class Partial:
    """One process's hold on the unfinished cache ``path``, whose content ``identity`` decides; the
    first of the ``rank``s locks the file and lays it out.

    UserError: begun with another identity. InUseError: being made by another run right now.
    """

    def __init__(
        self,
        path: Path,
        rows: int,
        width: int,
        identity: dict[str, Any],
        rank: int,
        dtype: np.dtype = DTYPE,
    ) -> None:
        self.path, self.partial, self.identity = path, partial_path(path), identity
        self.record = path.with_name(f".{path.name}.progress-{rank}.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = os.open(self.partial, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if rank == 0:
                self._lock()
                self.finished()  # refuses records of anything else before they are removed
                self._lay_out(rows, width, dtype)
            self.layout = read_layout(self.partial, dtype)
            self.mine = self._read(self.record) if self.record.exists() else []
        except BaseException:
            self.close()
            raise

    def finished(self) -> list[Range]:
        """The rows that any process has recorded."""
        return merge(done for record in record_paths(self.path) for done in self._read(record))

    def write(self, first: int, latents: np.ndarray) -> None:
        """Put rows (N, D) in their place. They count when ``save`` has recorded them."""
        data = memoryview(np.ascontiguousarray(latents, self.layout.dtype)).cast("B")
        write_at(self.file, data, self.layout.offset + first * self.layout.row_bytes)
        self.mine = merge([*self.mine, (first, first + len(latents))])

    def save(self) -> None:
        """Record what was written, after it has reached the disk."""
        os.fdatasync(self.file)
        write_json(self.record, {**self.identity, "finished": self.mine})

    def close(self) -> None:
        """Let go of the file, and of the lock with it."""
        os.close(self.file)

    def _lock(self) -> None:
        try:
            mine = lock_descriptor(self.file, blocking=False) and os.path.samestat(
                os.fstat(self.file), self.partial.stat()
            )
        except FileNotFoundError:
            mine = False
        if not mine:  # locked by another run, or finished by it since this one opened the file
            raise InUseError(
                f"{self.partial} is being written by another process: wait for it, or end it."
            )

    def _lay_out(self, rows: int, width: int, dtype: np.dtype) -> None:
        """Header and room for every row, unless they are there: a full disk is found out now, and
        not in a memory map, where it would kill the process (SIGBUS).
        """
        start = io.BytesIO()
        about = {"descr": dtype.str, "fortran_order": False, "shape": (rows, width)}
        np.lib.format.write_array_header_1_0(start, about)
        header = start.getvalue()
        total = Layout(rows, width, len(header), dtype).total_bytes
        if os.fstat(self.file).st_size == total and os.pread(self.file, len(header), 0) == header:
            return
        remove_records(self.path)  # of a file that somebody has taken away
        os.ftruncate(self.file, 0)
        write_at(self.file, header, 0)
        os.posix_fallocate(self.file, 0, total)
        os.fsync(self.file)

    def _read(self, record: Path) -> list[Range]:
        try:
            content = json.loads(record.read_text())
            finished = [(int(first), int(last)) for first, last in content["finished"]]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{record} cannot be read ({error}): delete it to make its rows again."
            ) from error
        for key, value in self.identity.items():
            if content.get(key) != value:
                raise UserError(
                    f"{self.partial} was started with {key} = {content.get(key)!r}, but now {key} "
                    f"= {value!r}: delete it and {record.name} to start over."
                )
        return finished
