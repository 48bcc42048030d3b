"""The ``.npy`` file of world latents: its header, and one pass over its content by blocks."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wmvla.errors import UserError

DTYPE = np.dtype("<f2")
BLOCK_BYTES = 1 << 22


@dataclass(frozen=True)
class Layout:
    """``rows`` x ``width`` values, of latents in fp16, from byte ``offset`` of the file on."""

    rows: int
    width: int
    offset: int
    dtype: np.dtype = DTYPE

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self.width * self.dtype.itemsize

    @property
    def total_bytes(self) -> int:
        """Size of the whole file."""
        return self.offset + self.rows * self.row_bytes


def read_layout(path: Path, wanted: np.dtype = DTYPE) -> Layout:
    """The layout that the header announces, checked against the file's size. UserError: not a
    ``.npy`` file; not two-dimensional, of type ``wanted``, in C order; of another size."""
    what = "fp16 latents" if wanted == DTYPE else f"{wanted} values"
    with path.open("rb") as file:
        try:
            version = np.lib.format.read_magic(file)
            numpy_format = np.lib.format
            v1, v2 = numpy_format.read_array_header_1_0, numpy_format.read_array_header_2_0
            shape, fortran, dtype = (v1 if version == (1, 0) else v2)(file)
        except ValueError as error:
            raise UserError(
                f"{path} is not a .npy file ({str(error).splitlines()[0]}): make or copy the"
                " latents again."
            ) from error
        offset = file.tell()
    if len(shape) != 2 or dtype != wanted or (fortran and min(shape) > 1):
        raise UserError(
            f"{path} holds {dtype} values of shape {shape}, not {what} of shape (rows, width)."
        )
    layout = Layout(shape[0], shape[1], offset, wanted)
    size = path.stat().st_size
    if size != layout.total_bytes:
        raise UserError(
            f"{path} is {'truncated' if size < layout.total_bytes else 'too long'}: its header"
            f" announces {shape[0]} x {shape[1]} {what.split()[-1]}, {layout.total_bytes} bytes,"
            f" and it has {size}: copy or make it again."
        )
    return layout


@dataclass(frozen=True)
class Figures:
    """What one pass over a file of latents found. Statistics leave out rows that are not finite."""

    layout: Layout
    bad_values: int
    """Values that are NaN or infinite."""
    bad_rows: tuple[int, ...]
    zero_rows: tuple[int, ...]
    """Rows of zeros only: what a half-written file has."""
    neighbour_cosine: float
    """Mean cosine of consecutive rows (of one episode, where the episodes are known)."""
    mean: np.ndarray
    std: np.ndarray
    """Per dimension (D,), float64."""
    sha256: str

    @property
    def objection(self) -> str | None:
        """Why these latents cannot be used, as the end of a sentence; None when they can."""
        if self.bad_rows:
            first = self.bad_rows[0]
            return (
                f"{len(self.bad_rows)} rows hold NaN or infinite values, the first is row {first}"
            )
        if self.zero_rows:
            first, last = self.zero_rows[0], self.zero_rows[-1]
            return (
                f"{len(self.zero_rows)} rows between {first} and {last} are all zeros: whoever made"
                " the file did not finish it"
            )
        return None


def examine(path: Path, ends: np.ndarray | None = None) -> Figures:
    """Read the whole file once, block by block; rows across the exclusive ``ends`` of episodes are
    no neighbours."""
    layout = read_layout(path)
    digest = hashlib.sha256()
    count, mean, squares = 0, np.zeros(layout.width), np.zeros(layout.width)
    bad_values, bad, zero = 0, [], []
    cosines, pairs = 0.0, 0
    borders = np.zeros(layout.rows + 1, bool)
    if ends is not None:
        borders[ends] = True
    previous: np.ndarray = np.empty((0, layout.width))
    for first, raw in _blocks(path, layout, digest):
        finite = np.isfinite(raw)
        sound = finite.all(1)
        bad_values += int(finite.size - finite.sum())
        bad += (first + np.flatnonzero(~sound)).tolist()
        zero += (first + np.flatnonzero(~raw.any(1))).tolist()
        exact = raw.astype(np.float64)
        good = exact[sound]
        if len(good):  # Chan, Golub and LeVeque 1979: merge the moments of two samples
            block_mean = good.mean(0)
            step, merged = block_mean - mean, count + len(good)
            squares += ((good - block_mean) ** 2).sum(0) + step**2 * (count * len(good) / merged)
            mean += step * (len(good) / merged)
            count = merged
        chain = np.concatenate([previous, exact])
        rows = first - len(previous) + np.arange(len(chain))
        lengths = np.linalg.norm(chain, axis=1)
        scale = lengths[1:] * lengths[:-1]
        usable = ~borders[rows[1:]] & np.isfinite(scale) & (scale > 0)
        cosines += float(((chain[1:] * chain[:-1]).sum(1)[usable] / scale[usable]).sum())
        pairs += int(usable.sum())
        previous = exact[-1:]
    return Figures(
        layout=layout,
        bad_values=bad_values,
        bad_rows=tuple(bad),
        zero_rows=tuple(zero),
        neighbour_cosine=cosines / pairs if pairs else float("nan"),
        mean=mean,
        std=np.sqrt(squares / max(count, 1)),
        sha256=digest.hexdigest(),
    )


def _blocks(
    path: Path, layout: Layout, digest: "hashlib._Hash"
) -> Iterator[tuple[int, np.ndarray]]:
    """Row number and rows of each block; every byte of the file passes through ``digest``."""
    step = max(1, BLOCK_BYTES // max(layout.row_bytes, 1))
    with path.open("rb") as file:
        digest.update(file.read(layout.offset))
        for first in range(0, layout.rows, step):
            block = file.read(min(step, layout.rows - first) * layout.row_bytes)
            digest.update(block)
            yield first, np.frombuffer(block, DTYPE).reshape(-1, layout.width)
