"""Films: what is written is read again, frame by frame."""

import errno
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from wmvla.errors import UserError
from wmvla.rollout.film import FPS, GAP, LABEL_HEIGHT, hold, side_by_side, write_film


def frames_of(length: int, height: int = 64, width: int = 64, first: int = 0) -> NDArray[np.uint8]:
    """Each frame one grey; brighter from frame to frame."""
    greys = np.arange(first, first + 8 * length, 8, dtype=np.uint8)
    return np.broadcast_to(greys[:, None, None, None], (length, height, width, 3)).copy()


def read(path: Path) -> tuple[NDArray[np.uint8], float]:
    """Frames and frames a second of an mp4 file."""
    with av.open(str(path)) as film:
        stream = film.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p", "the only one that every browser plays"
        return np.stack([frame.to_ndarray(format="rgb24") for frame in film.decode(stream)]), float(
            stream.average_rate
        )


def test_a_film_has_every_frame_enlarged_and_holds_the_last(tmp_path: Path) -> None:
    frames = frames_of(30)
    write_film(tmp_path / "videos" / "a.mp4", frames)
    read_again, fps = read(tmp_path / "videos" / "a.mp4")
    assert fps == FPS
    assert read_again.shape == (30 + FPS, 256, 256, 3), "64 pixels four times; a second longer"
    greys = read_again.mean(axis=(1, 2, 3))
    assert np.abs(greys[:30] - frames[:, 0, 0, 0]).max() < 3
    assert np.abs(greys[30:] - frames[-1, 0, 0, 0]).max() < 3
    assert [path.name for path in (tmp_path / "videos").iterdir()] == ["a.mp4"]


@pytest.mark.parametrize(
    ("height", "width", "shape"),
    [(256, 256, (256, 256)), (300, 401, (300, 402)), (1, 3, (256, 768))],
)
def test_any_size_of_frame(tmp_path: Path, height: int, width: int, shape: tuple[int, int]) -> None:
    write_film(tmp_path / "a.mp4", frames_of(1, height, width))
    read_again, fps = read(tmp_path / "a.mp4")
    assert (read_again.shape, fps) == ((21, *shape, 3), 20)


def test_side_by_side_each_has_its_place_and_its_label() -> None:
    left, right = frames_of(12), frames_of(20, first=60)
    film = side_by_side(
        left, right, "E2-pred-s0\nsolved after 11 steps", "E0-none-s0\nnot solved after 19 steps"
    )
    assert film.shape == (20, LABEL_HEIGHT + 256, 2 * 256 + GAP, 3)
    assert (film[:, LABEL_HEIGHT:, :256] == hold(left, 20)[:, :1, :1]).all(), (
        "the shorter one is held"
    )
    assert (film[:, LABEL_HEIGHT:, 256 + GAP :] == right[:, :1, :1]).all()
    labels = film[0, :LABEL_HEIGHT]
    assert (labels[:, :256] < 128).any(), "there is text"
    assert (labels[:, :256] != labels[:, 256 + GAP :]).any(), "and not the same one"
    assert (labels[:, [255, 256, -1]] == 255).all(), "that fits"
    with pytest.raises(AssertionError, match="two different cameras"):
        side_by_side(left, frames_of(3, 32, 32), "", "")


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(path: Path, frames: list, fps: int) -> None:
        path.write_bytes(b"half a film")
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("lerobot.utils.io_utils.write_video", fill)
    with pytest.raises(UserError, match="The disk is full"):
        write_film(tmp_path / "a.mp4", frames_of(2))
    assert list(tmp_path.iterdir()) == []
