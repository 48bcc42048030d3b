"""Films of episodes as mp4: small frames enlarged, the last one held, two side by side."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wmvla.errors import disk_errors_are_user_errors
from wmvla.files import rename_durably

Frames = NDArray[np.uint8]
"""(T, H, W, 3)."""

FPS = 20
"""LIBERO's control steps a second: a film runs as fast as the robot moves."""
HEIGHT = 256
"""Smaller frames are enlarged to at least this many pixels, by a whole number."""
HELD_SECONDS = 1.0
"""How long the last frame stays."""
LABEL_HEIGHT, GAP = 40, 8
"""Pixels above and between two films."""


def write_film(path: Path, frames: Frames) -> None:
    """Write ``frames`` (T, H, W, 3), T >= 1, as H.264 to the mp4 file ``path``, atomically.
    UserError if the disk is full."""
    from lerobot.utils.io_utils import write_video

    assert frames.dtype == np.uint8, frames.dtype
    assert frames.ndim == 4, frames.shape
    assert frames.shape[0] > 0, frames.shape
    assert frames.shape[-1] == 3, frames.shape
    shown = _even(_enlarged(hold(frames, len(frames) + round(HELD_SECONDS * FPS))))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{os.getpid()}-{path.name}")  # its end chooses the codec
    try:
        with disk_errors_are_user_errors():
            write_video(partial, list(shown), FPS)
            rename_durably(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def side_by_side(left: Frames, right: Frames, left_label: str, right_label: str) -> Frames:
    """Two episodes of one camera beside each other, labelled; the shorter one is held."""
    assert left.shape[1:] == right.shape[1:], "films of two different cameras"
    length = max(len(left), len(right))
    films = [_enlarged(hold(film, length)) for film in (left, right)]
    _, height, width, _ = films[0].shape
    canvas = np.full((length, LABEL_HEIGHT + height, 2 * width + GAP, 3), 255, np.uint8)
    for film, label, start in zip(films, (left_label, right_label), (0, width + GAP), strict=True):
        canvas[:, :LABEL_HEIGHT, start : start + width] = _label(label, width)
        canvas[:, LABEL_HEIGHT:, start : start + width] = film
    return canvas


def hold(frames: Frames, length: int) -> Frames:
    """``frames`` with the last one repeated up to ``length``."""
    return np.concatenate([frames, np.repeat(frames[-1:], length - len(frames), axis=0)])


def _enlarged(frames: Frames) -> Frames:
    """Every pixel becomes a square: enlarged sharply, nothing is invented."""
    factor = -(-HEIGHT // frames.shape[1])
    return frames.repeat(factor, axis=1).repeat(factor, axis=2)


def _even(frames: Frames) -> Frames:
    """H.264 halves the colours' resolution, so both sides must be even: the edge is doubled."""
    _, height, width, _ = frames.shape
    return np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _label(text: str, width: int) -> Frames:
    """Dark text on white, (LABEL_HEIGHT, width, 3)."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (width, LABEL_HEIGHT), "white")
    font, pen = ImageFont.load_default(13), ImageDraw.Draw(image)
    pen.multiline_text((6, 3), text, fill="black", font=font, spacing=2)
    return np.asarray(image)
