"""Locks that a file system ignores, and those of a network's disk."""

import fcntl
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from bench.run.stages.alone import alone
from wmvla.errors import UserError
from wmvla.lock_probe import HERE_ALONE, network_locks
from wmvla.rollout.lock import lock
from wmvla.rollout.shard import Shard


@pytest.fixture
def ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every lock is given to whoever asks, and keeps nobody out."""
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)


@pytest.mark.parametrize(
    ("how", "file"),
    [({}, ".lock"), ({"shard": Shard(1, 2)}, ".lock.1-of-2"), ({"cases": ["E0"]}, ".lock.case-E0")],
)
def test_a_lock_that_keeps_nobody_out_is_refused(
    ignored: None, tmp_path: Path, how: dict, file: str
) -> None:
    with (
        pytest.raises(
            UserError, match=r"a second process was given the lock.*on a local disk"
        ) as e,
        lock(tmp_path, **how),
    ):
        pytest.fail("nothing may run")
    assert str(e.value).startswith(f"{tmp_path / file}: ")
    assert "\n" not in str(e.value)


def test_so_it_is_in_the_shared_cache(ignored: None, tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match=r"\.base\.lock: a second process was given the lock"),
        alone(tmp_path / "base", "base", print),
    ):
        pytest.fail("nothing may run")


def test_a_lock_that_holds_is_as_before_and_taken_again(tmp_path: Path) -> None:
    held = 0
    for _ in range(2):
        with lock(tmp_path), alone(tmp_path / "base", "base", pytest.fail):  # which a wait calls
            held += 1
    assert held == 2


def mounted(*places: tuple[str, str, str]) -> list[SimpleNamespace]:
    names = ("mountpoint", "fstype", "opts")
    return [SimpleNamespace(**dict(zip(names, place, strict=True))) for place in places]


@pytest.mark.parametrize(
    ("kind", "options", "known"),
    [
        ("nfs4", "rw,vers=4.2", "a lock holds between machines"),
        ("nfs", "rw,nolock", f"{HERE_ALONE} (nolock)"),
        ("lustre", "rw,localflock", f"{HERE_ALONE} (localflock)"),
        ("fuse.sshfs", "rw", HERE_ALONE),
        ("gpfs", "rw", "is not known"),
        ("beegfs", "rw", "tuneUseGlobalFileLocks"),
        ("cifs", "rw", "byte ranges"),
    ],
)
def test_of_a_networks_disk_one_line_says_what_is_known(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    options: str,
    known: str,
) -> None:
    mounts = mounted(("/", "ext4", "rw"), (str(tmp_path), kind, options))
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: mounts)
    with lock(tmp_path / "run"):
        pass
    printed = capsys.readouterr().err
    assert printed.startswith(f"{tmp_path / 'run'} lies on {kind}, mounted at {tmp_path}: ")
    assert known in printed
    assert printed.count("\n") == 1


def test_a_local_disk_inside_a_networks_is_local(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    inner = tmp_path / "scratch"
    mounts = mounted(("/", "nfs4", "rw"), (str(inner), "xfs", "rw"))
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: mounts)
    assert network_locks(inner / "run") is None
    assert network_locks(tmp_path / "scratch-of-others") is not None


def test_the_last_mount_at_a_place_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mounts = mounted((str(tmp_path), "nfs4", "rw"), (str(tmp_path), "ext4", "rw"))
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: mounts)
    assert network_locks(tmp_path) is None
