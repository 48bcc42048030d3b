"""What a crash of the machine leaves: a name is on the disk with what it stands for, or not at
all."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.wmvla.rollout.test_journal import row_of
from wmvla.errors import UserError
from wmvla.files import new_folder, why_unreadable, write_json
from wmvla.rollout.journal import Journal
from wmvla.rollout.lock import lock
from wmvla.train.metrics import MetricsFile


def fill(folder: Path) -> None:
    with new_folder(folder) as unfinished:
        (unfinished / "weights").write_text("w")


def hold(folder: Path) -> None:
    with lock(folder):
        pass


def test_a_copy_that_another_overtakes_while_it_goes_to_the_disk_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wmvla.files.sync_tree", lambda made: shutil.copytree(made, tmp_path / "x"))
    fill(tmp_path / "x")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x" / "weights").read_text() == "w"


@pytest.mark.parametrize(
    ("write", "synced"),
    [
        (lambda path: write_json(path, {}), ["content", "folder"]),
        (fill, ["content", "content", "folder"]),
        (lambda path: Journal(path).append(row_of(0)), ["content", "folder"]),
        (lambda path: MetricsFile(path, 0), ["content", "folder"]),
        (lambda path: write_json(path / "x", {}), ["folder", "content", "content"]),
        (hold, ["folder"]),
    ],
)
def test_content_and_name_reach_the_disk_in_this_order(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    write: Callable[[Path], object],
    synced: list[str],
) -> None:
    deeds, fsync = [], os.fsync

    def note(descriptor: int) -> None:
        is_folder = os.path.samestat(os.fstat(descriptor), tmp_path.stat())
        deeds.append("folder" if is_folder else "content")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    write(tmp_path / "it")
    assert deeds == synced


@pytest.mark.parametrize("call", ["pread", "ftruncate", "pwrite", "fsync"])
def test_a_broken_disk_is_one_line_and_loses_no_episode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    journal = Journal(tmp_path / "a.jsonl")
    journal.append(row_of(0))

    def broken(*arguments: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, broken)
        with pytest.raises(UserError, match="cannot record an episode: Input/output error"):
            journal.append(row_of(1))
    assert journal.rows() == [row_of(0)]
    journal.append(row_of(1))
    assert journal.finished() == {0, 1}


def test_why_a_file_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    pointer = "is a Git LFS pointer, not the file itself: run `git lfs pull` there."
    assert why_unreadable(path, ValueError("x")).endswith(pointer)
    path.write_text("")
    assert "(it is empty)" in why_unreadable(path, ValueError("x"))
    path.write_text("x")
    assert "(ValueError x): fetch it again" in why_unreadable(path, ValueError("x"))
