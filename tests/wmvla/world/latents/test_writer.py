"""Making latents: every frame read once, the same bytes however the work is cut, killed, resumed or
shared."""

import json
import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, distributed

from tests.wmvla.conftest import EPISODES, WORLD, Toy
from wmvla.data.frames import DatasetFrames
from wmvla.world.encoder import WorldEncoder
from wmvla.world.latents import rows_writer, writer
from wmvla.world.latents.cache import LatentCache, latents_path, metadata_path
from wmvla.world.latents.partial import merge, partial_path, record_paths, remaining_batches
from wmvla.world.latents.stream import stream_latents
from wmvla.world.latents.writer import write_latents

COUNT = sum(EPISODES)
pytestmark = pytest.mark.filterwarnings(
    "ignore:This process .* is multi-threaded:DeprecationWarning"
)
FORK = multiprocessing.get_context("fork")


@dataclass
class NumberedFrames:
    """Frames whose every pixel is their row's number; remembers what was read. Stands in for a
    dataset of any shape."""

    ends: np.ndarray
    keys: tuple[str, ...] = ("front",)
    reads: list[int] = field(default_factory=list)

    def read(self, first: int, last: int) -> list[Tensor]:
        self.reads += range(first, last)
        rows = torch.arange(first, last).view(-1, 1, 1, 1)
        return [rows + 1000 * number for number, _ in enumerate(self.keys)]


class Spelling:
    """An encoder whose latent of a clip is the clip's frames themselves."""

    def preprocess(self, frames: Tensor) -> Tensor:
        return frames

    def encode(self, clips: Tensor) -> Tensor:
        return clips.flatten(1)


@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    window=st.integers(1, 6),
    size=st.integers(1, 12),
    cameras=st.integers(1, 2),
    data=st.data(),
)
def test_streamed_clips_are_those_of_each_window_alone(lengths, window, size, cameras, data):
    ends = np.cumsum(lengths)
    done = data.draw(
        st.lists(
            st.tuples(st.integers(0, ends[-1]), st.integers(0, ends[-1])).map(
                lambda r: tuple(sorted(r))
            )
        )
    )
    batches = remaining_batches(int(ends[-1]), size, done)
    frames = NumberedFrames(ends, ("front", "wrist")[:cameras])
    found = {}
    for first, latents in stream_latents(frames, Spelling(), window, batches):
        found |= {first + offset: row.tolist() for offset, row in enumerate(latents)}
    finished = {row for first, last in done for row in range(first, last)}
    assert set(found) == set(range(int(ends[-1]))) - finished
    for row, latent in found.items():
        start = max([0, *(int(end) for end in ends if end <= row)])
        clip = [max(start, row - back) for back in range(window - 1, -1, -1)]
        assert latent == [frame + 1000 * camera for camera in range(cameras) for frame in clip]
    if not finished:
        assert frames.reads == list(range(int(ends[-1])))


@given(
    rows=st.integers(1, 60),
    size=st.integers(1, 20),
    done=st.lists(
        st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda r: tuple(sorted(r))),
        max_size=6,
    ),
)
def test_batches_are_what_is_left_cut_at_fixed_places(rows, size, done):
    done = [(min(first, rows), min(last, rows)) for first, last in done]
    batches = remaining_batches(rows, size, done)
    left = [row for first, last in batches for row in range(first, last)]
    finished = {row for first, last in done for row in range(first, last)}
    assert left == [row for row in range(rows) if row not in finished]
    assert all(first // size == (last - 1) // size for first, last in batches)
    assert all(before[1] < after[0] for before, after in pairwise(merge(done)))


@pytest.fixture(scope="module")
def encoder(toy: Toy) -> WorldEncoder:
    return WorldEncoder(str(toy.encoder))


@pytest.fixture(scope="module")
def frames(toy: Toy) -> DatasetFrames:
    return DatasetFrames(toy.repo_id, toy.dataset, "front")


@pytest.fixture(scope="module")
def whole(frames, encoder, tmp_path_factory) -> bytes:
    """The bytes of latents that were made at one go, in batches of 5."""
    path = tmp_path_factory.mktemp("whole") / "latents.fp16.npy"
    write_latents(path, frames, encoder, 4, batch_rows=5)
    return path.read_bytes()


def leftovers(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.parent.iterdir() if entry.name.startswith("."))


def in_a_process(work: Callable[[], None]) -> int | None:
    """The exit code of a forked process that does ``work``; minus the signal when one ended it."""
    process = FORK.Process(target=work)
    process.start()
    process.join(60)
    return process.exitcode


class KilledAt(DatasetFrames):
    """The dataset, whose reader is killed by SIGKILL at its n-th read."""

    def __init__(self, frames: DatasetFrames, reads: int) -> None:
        self.__dict__.update(frames.__dict__)
        self.left = reads

    def read(self, first: int, last: int) -> list[Tensor]:
        self.left -= 1
        if self.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(first, last)


def test_the_file_is_a_plain_numpy_array_of_the_protocol(toy, whole, tmp_path):
    path = latents_path(toy.cache, toy.repo_id, "vjepa", "m4")
    assert path == toy.cache / "toy/noise" / "train_world_latents_vjepa_m4.fp16.npy"
    stored = np.load(path)
    assert stored.dtype == np.float16
    assert stored.shape == (COUNT, WORLD.encoder_hidden)
    assert leftovers(path) == []
    np.save(tmp_path / "saved.npy", stored)
    assert (tmp_path / "saved.npy").read_bytes() == path.read_bytes()


def test_killed_again_and_again_it_continues_and_ends_in_the_same_bytes(
    frames, encoder, whole, tmp_path, monkeypatch
):
    monkeypatch.setattr(rows_writer, "SAVE_EVERY", 0.0)
    path = tmp_path / "latents.fp16.npy"
    recorded = []
    for reads in (0, 2, 1, 3, 2):
        killed = KilledAt(frames, reads)
        assert (
            in_a_process(
                lambda killed=killed: write_latents(path, killed, encoder, 4, batch_rows=5)
            )
            == -signal.SIGKILL
        )
        assert not path.exists()
        recorded.append(
            sum(
                last - first
                for file in record_paths(path)
                for first, last in json.loads(file.read_text())["finished"]
            )
        )
    assert recorded == sorted(recorded)
    assert 0 < recorded[-1] < COUNT
    again = NumberOfReads(frames)
    write_latents(path, again, encoder, 4, batch_rows=5)
    assert path.read_bytes() == whole
    assert (
        again.rows <= COUNT - recorded[-1] + 3
    )  # what was recorded is not made again; 3 frames before it are
    assert leftovers(path) == []


class NumberOfReads(DatasetFrames):
    """The dataset, which counts the rows that are read."""

    def __init__(self, frames: DatasetFrames) -> None:
        self.__dict__.update(frames.__dict__)
        self.rows = 0

    def read(self, first: int, last: int) -> list[Tensor]:
        self.rows += last - first
        return super().read(first, last)


@pytest.mark.parametrize("point", ["examine", "write_json", "sync_folder", "remove_records"])
def test_killed_while_it_finishes_it_still_ends_in_the_same_bytes(
    frames, encoder, whole, tmp_path, monkeypatch, point
):
    path = tmp_path / "latents.fp16.npy"
    with monkeypatch.context() as patched:
        patched.setattr(writer, point, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        assert (
            in_a_process(lambda: write_latents(path, frames, encoder, 4, batch_rows=5))
            == -signal.SIGKILL
        )
    write_latents(path, frames, encoder, 4, batch_rows=5)
    assert path.read_bytes() == whole
    assert leftovers(path) == []
    LatentCache(path, 4, WORLD.encoder_hidden, "front", frames.fingerprint, encoder.fingerprint())


def test_every_frame_is_decoded_once(frames, encoder, tmp_path):
    counted = NumberOfReads(frames)
    write_latents(tmp_path / "latents.fp16.npy", counted, encoder, 4, batch_rows=5)
    assert counted.rows == COUNT


def test_a_finished_cache_is_not_made_again(frames, encoder, whole, tmp_path):
    path = tmp_path / "latents.fp16.npy"
    write_latents(path, frames, encoder, 4, batch_rows=5)
    counted = NumberOfReads(frames)
    write_latents(path, counted, encoder, 4, batch_rows=5)
    assert counted.rows == 0


def share(
    rank: int,
    processes: int,
    path: Path,
    frames: DatasetFrames,
    encoder: WorldEncoder,
    meeting: Path,
) -> None:
    distributed.init_process_group(
        "gloo", init_method=f"file://{meeting}", rank=rank, world_size=processes
    )
    write_latents(path, frames, encoder, 4, batch_rows=5)
    distributed.destroy_process_group()


def together(
    path: Path, frames: list[DatasetFrames], encoder: WorldEncoder, meeting: Path
) -> list[int | None]:
    """Exit codes of one process for each of ``frames``."""
    arguments = [
        (rank, len(frames), path, own, encoder, meeting) for rank, own in enumerate(frames)
    ]
    processes = [FORK.Process(target=share, args=given) for given in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join(20)
        if process.exitcode is None:  # waits in a barrier for one that was killed
            process.kill()
            process.join()
    return [process.exitcode for process in processes]


def test_two_processes_make_the_same_bytes_and_one_metadata(frames, encoder, whole, tmp_path):
    path = tmp_path / "latents.fp16.npy"
    assert together(path, [frames, frames], encoder, tmp_path / "meeting") == [0, 0]
    assert path.read_bytes() == whole
    assert leftovers(path) == []
    LatentCache(path, 4, WORLD.encoder_hidden, "front", frames.fingerprint, encoder.fingerprint())


def test_a_killed_process_of_two_is_made_up_for_by_one(
    frames, encoder, whole, tmp_path, monkeypatch
):
    monkeypatch.setattr(rows_writer, "SAVE_EVERY", 0.0)
    path = tmp_path / "latents.fp16.npy"
    codes = together(path, [frames, KilledAt(frames, 2)], encoder, tmp_path / "meeting")
    assert codes[1] == -signal.SIGKILL
    assert len(record_paths(path)) == 2
    assert not path.exists()
    write_latents(path, frames, encoder, 4, batch_rows=5)
    assert path.read_bytes() == whole
    assert leftovers(path) == []


def begin(
    path: Path, frames: DatasetFrames, encoder: WorldEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leave an unfinished cache behind."""
    monkeypatch.setattr(rows_writer, "SAVE_EVERY", 0.0)
    killed = KilledAt(frames, 3)
    assert (
        in_a_process(lambda: write_latents(path, killed, encoder, 4, batch_rows=5))
        == -signal.SIGKILL
    )


def test_an_unfinished_cache_of_another_window_is_not_continued(
    frames, encoder, tmp_path, monkeypatch
):
    path = tmp_path / "latents.fp16.npy"
    begin(path, frames, encoder, monkeypatch)
    with pytest.raises(
        ValueError, match=r"was started with window = 4, but now window = 2: delete it"
    ):
        write_latents(path, frames, encoder, 2, batch_rows=5)


def test_records_do_not_outlive_the_file_that_they_are_about(
    frames, encoder, whole, tmp_path, monkeypatch
):
    path = tmp_path / "latents.fp16.npy"
    begin(path, frames, encoder, monkeypatch)
    partial_path(path).unlink()
    write_latents(path, frames, encoder, 4, batch_rows=5)
    assert path.read_bytes() == whole


def test_a_broken_record_is_named(frames, encoder, tmp_path, monkeypatch):
    path = tmp_path / "latents.fp16.npy"
    begin(path, frames, encoder, monkeypatch)
    record_paths(path)[0].write_text("{")
    with pytest.raises(ValueError, match=r"progress-0.json cannot be read .*: delete it"):
        write_latents(path, frames, encoder, 4, batch_rows=5)


def test_two_runs_do_not_write_the_same_cache(frames, encoder, tmp_path):
    path = tmp_path / "latents.fp16.npy"

    class Interrupted(NumberOfReads):
        def read(self, first: int, last: int) -> list[Tensor]:
            with pytest.raises(ValueError, match="is being written by another process"):
                write_latents(path, frames, encoder, 4)
            return super().read(first, last)

    write_latents(path, Interrupted(frames), encoder, 4, batch_rows=64)
    assert path.exists()


def test_latents_made_otherwise_are_neither_used_nor_overwritten(toy, frames, encoder, tmp_path):
    path = tmp_path / "latents.fp16.npy"
    write_latents(path, frames, encoder, 4)
    before = path.read_bytes()
    wrist = DatasetFrames(toy.repo_id, toy.dataset, "wrist")
    with pytest.raises(
        ValueError, match=r"made from camera 'front', but policy.world_camera = 'wrist'"
    ):
        write_latents(path, wrist, encoder, 4)
    with pytest.raises(
        ValueError, match="made with windows of 4 frames, but the policy asks for 2"
    ):
        write_latents(path, frames, encoder, 2)
    metadata_path(path).unlink()
    with pytest.raises(ValueError, match="has no metadata: run `lerobot-wm-latents --check`"):
        write_latents(path, frames, encoder, 4)
    assert path.read_bytes() == before


def test_latents_that_are_not_finite_are_not_written(frames, encoder, tmp_path, monkeypatch):
    path = tmp_path / "latents.fp16.npy"
    sound = WorldEncoder.encode
    monkeypatch.setattr(
        WorldEncoder, "encode", lambda self, clips: sound(self, clips) * 1e6
    )  # beyond fp16
    with pytest.raises(ValueError, match=r"not finite in fp16, or all zeros, for row 0"):
        write_latents(path, frames, encoder, 4)
    assert not path.exists()


def test_a_window_that_the_encoder_cannot_see_is_refused_before_anything_is_written(
    frames, encoder, tmp_path
):
    with pytest.raises(ValueError, match="would drop the newest of a window of 3"):
        write_latents(tmp_path / "latents.fp16.npy", frames, encoder, 3)
    assert list(tmp_path.iterdir()) == []


def test_progress_shows_rate_and_time(frames, encoder, tmp_path, capsys):
    write_latents(tmp_path / "latents.fp16.npy", frames, encoder, 4, batch_rows=5)
    lines = capsys.readouterr().err.splitlines()
    assert "33/33" in lines[-1]
    assert "rows/s" in lines[-1]
    assert "left" in lines[1]
