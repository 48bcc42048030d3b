"""What is renamed is durable: the folder is synced behind the rename, or a power cut undoes it."""

import os
from pathlib import Path

import pytest

from wmvla.files import new_folder, why_unreadable, write_json


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Renames and syncs in the order in which they were done."""
    found: list[str] = []
    replace, fsync = Path.replace, os.fsync

    def renamed(path: Path, target: Path) -> Path:
        found.append(f"rename to {Path(target).name}")
        return replace(path, target)

    def synced(descriptor: int) -> None:
        found.append(f"sync {Path(f'/proc/self/fd/{descriptor}').resolve().name}")
        fsync(descriptor)

    monkeypatch.setattr(Path, "replace", renamed)
    monkeypatch.setattr(os, "fsync", synced)
    return found


def test_a_document_and_its_name_are_durable(tmp_path: Path, done: list[str]) -> None:
    write_json(tmp_path / "a.json", {})
    assert done[0].startswith("sync .a.json-")
    assert done[1:] == ["rename to a.json", f"sync {tmp_path.name}"]


def test_the_name_of_a_folder_is_durable(tmp_path: Path, done: list[str]) -> None:
    with new_folder(tmp_path / "a"):
        pass
    assert done == ["rename to a", f"sync {tmp_path.name}"]


def test_why_a_file_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    assert why_unreadable(path, ValueError("x")).endswith("is a Git LFS pointer, not the file itself: run `git lfs pull` there.")  # fmt: skip
    path.write_text("")
    assert "(it is empty)" in why_unreadable(path, ValueError("x"))
    path.write_text("x")
    assert "(ValueError x): fetch it again" in why_unreadable(path, ValueError("x"))
