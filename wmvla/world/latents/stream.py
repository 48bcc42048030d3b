"""From frames to latents in batches: each frame is read and preprocessed once."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from wmvla.data.frames import DatasetFrames
from wmvla.world.encoder import WorldEncoder
from wmvla.world.latents.cache import clip_rows, episode_bounds


def stream_latents(
    frames: DatasetFrames, encoder: WorldEncoder, window: int, batches: Sequence[tuple[int, int]]
) -> Iterator[tuple[int, Tensor]]:
    """Latents of the row ranges ``batches`` (first, last exclusive; ascending), each as (first,
    float32 (N, C * D)).

    Non-obvious: the last m - 1 frames of a batch are kept for the next one. Only where a range does
    not follow on the one before it (another process's rows, or rows that are done) are the frames
    before it read again. While a batch is encoded, one thread reads the next.
    """
    needed = [_first_frame(frames.ends, first, window) for first, _ in batches]
    before = [None, *(last for _, last in batches)]
    follows = [first == last for (first, _), last in zip(batches, before, strict=False)]
    reads = [
        (batch[0] if follow else start, batch[1])
        for batch, start, follow in zip(batches, needed, follows, strict=True)
    ]
    kept: list[Tensor] = []
    in_turn = zip(batches, needed, follows, _ahead(frames, reads), strict=True)
    for (first, last), start, follow, fresh in in_turn:
        prepared = [encoder.preprocess(camera) for camera in fresh]
        if follow:
            prepared = [
                torch.cat([old[len(old) - (first - start) :], new])
                for old, new in zip(kept, prepared, strict=True)
            ]
        rows = np.arange(first, last)
        clips = clip_rows(rows, episode_bounds(frames.ends, rows)[0], window) - start
        picked = torch.from_numpy(clips).to(prepared[0].device)
        yield first, torch.cat([encoder.encode(camera[picked]) for camera in prepared], dim=-1)
        kept = [camera[max(0, len(camera) - (window - 1)) :] for camera in prepared]


def _first_frame(ends: np.ndarray, first: int, window: int) -> int:
    """The earliest frame that the clip of row ``first`` holds."""
    row = np.array([first])
    return int(clip_rows(row, episode_bounds(ends, row)[0], window)[0, 0])


def _ahead(frames: DatasetFrames, reads: Sequence[tuple[int, int]]) -> Iterator[list[Tensor]]:
    """What ``frames.read`` gives for each range, read one range ahead."""
    with ThreadPoolExecutor(max_workers=1) as reader:
        waiting: Future[list[Tensor]] | None = None
        for bounds in reads:
            ready, waiting = waiting, reader.submit(frames.read, *bounds)
            if ready is not None:
                yield ready.result()
        if waiting is not None:
            yield waiting.result()
