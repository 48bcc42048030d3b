"""Who may work in a run directory at the same time: one whole run, the shards of one split, or
different cases."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.run.stages.alone import alone
from wmvla.errors import UserError
from wmvla.rollout import lock as module
from wmvla.rollout.lock import lock
from wmvla.rollout.shard import Shard, parse_shard
from wmvla.train.life import Life
from wmvla.train.only_one import only_one

HOLD = """
import sys, time
from pathlib import Path
from wmvla.rollout.lock import lock
from wmvla.rollout.shard import parse_shard
with lock(Path(sys.argv[1]), parse_shard(sys.argv[3]) if sys.argv[3] else None, sys.argv[4:]):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


@contextlib.contextmanager
def held(
    directory: Path, shard: str = "", cases: tuple[str, ...] = (), seconds: float = 60
) -> Iterator[subprocess.Popen[str]]:
    """Another process holds the directory; it is killed at the end."""
    arguments = [sys.executable, "-c", HOLD, str(directory), str(seconds), shard, *cases]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            yield holder
        finally:
            holder.kill()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOCK_SECONDS", 0.2)


@pytest.mark.parametrize(
    ("first", "second", "busy"),
    [
        ("", "", "another run"),
        ("", "1/2", "another run"),
        ("1/2", "", "shard 1/2"),
        ("1/2", "1/2", "shard 1/2 of another run"),
        ("1/2", "2/3", "shard 1/2"),
        ("2/3", "2/4", "shard 2/3"),
        ("1/2", "2/2", None),
        ("3/3", "1/3", None),
    ],
)
def test_who_may_work_beside_whom(
    tmp_path: Path, impatient: None, first: str, second: str, busy: str | None
) -> None:
    shard = parse_shard(second) if second else None
    with held(tmp_path, first):
        if busy is None:
            with lock(tmp_path, shard):
                pass
            return
        with pytest.raises(UserError) as refused, lock(tmp_path, shard):
            pass
        assert (
            str(refused.value)
            == f"{tmp_path}: {busy} is running in this directory; wait for it or stop it"
        )
    with lock(tmp_path, shard):
        pass


@pytest.mark.parametrize(
    ("first", "second", "busy"),
    [
        (("E0-train-s0", ""), ("E2-train-s0", ""), None),
        (("E0-train-s0", ""), ("E0-train-s0", ""), "case E0-train-s0 of another run"),
        (("E0-train-s0", ""), ("E0-train-s0 E2-train-s0", ""), "case E0-train-s0 of another run"),
        (("E0-train-s0 E1-train-s0", ""), ("E1-train-s0", ""), "case E1-train-s0 of another run"),
        (("E0-none-s0", "1/2"), ("E0-none-s0", "2/2"), None),
        (
            ("E0-none-s0", "1/2"),
            ("E0-none-s0", "1/2"),
            "shard 1/2 of case E0-none-s0 of another run",
        ),
        (("E0-none-s0", "1/2"), ("E0-none-s0", "2/3"), "shard 1/2 of case E0-none-s0"),
        (("E0-none-s0", "1/2"), ("E1-zero-s0", "2/3"), None),
        (("E0-none-s0", "1/2"), ("E0-none-s0", ""), "shard 1/2 of case E0-none-s0"),
        (("E0-none-s0", ""), ("E0-none-s0", "1/2"), "case E0-none-s0"),
        (("E0-none-s0", ""), ("", ""), "case E0-none-s0"),
        (("", ""), ("E0-none-s0", ""), "another run"),
        (("E0-none-s0", "1/2"), ("", "1/2"), "shard 1/2 of case E0-none-s0"),
        (("E0-none-s0", "1/2"), ("", "2/2"), None),
        (("", "1/2"), ("E0-none-s0", "2/3"), "shard 1/2"),
    ],
)
def test_which_cases_may_be_done_beside_which(
    tmp_path: Path,
    impatient: None,
    first: tuple[str, str],
    second: tuple[str, str],
    busy: str | None,
) -> None:
    cases, shard = second[0].split(), parse_shard(second[1]) if second[1] else None
    with held(tmp_path, first[1], tuple(first[0].split())):
        if busy is None:
            with lock(tmp_path, shard, cases):
                pass
            return
        with pytest.raises(UserError) as refused, lock(tmp_path, shard, cases):
            pass
        assert (
            str(refused.value)
            == f"{tmp_path}: {busy} is running in this directory; wait for it or stop it"
        )
    with lock(tmp_path, shard, cases):
        pass


def test_a_refusal_leaves_no_lock_behind(tmp_path: Path, impatient: None) -> None:
    """Of several cases the first is free and the second is not: the first one's lock is given back
    at once."""
    with held(tmp_path, cases=("E1-train-s0",)):
        with (
            pytest.raises(UserError, match="E1-train-s0"),
            lock(tmp_path, cases=("E0-train-s0", "E1-train-s0")),
        ):
            pass
        with held(tmp_path, cases=("E0-train-s0",)):
            pass


def test_many_begin_at_the_same_moment(tmp_path: Path, impatient: None) -> None:
    """Each finds its turn, though all want the guard at once."""
    with contextlib.ExitStack() as together:
        arguments = [sys.executable, "-c", HOLD, str(tmp_path), "60", ""]
        holders = [
            together.enter_context(
                subprocess.Popen([*arguments, f"case-{number}"], stdout=subprocess.PIPE, text=True)
            )
            for number in range(8)
        ]
        together.callback(lambda: [holder.kill() for holder in holders])
        assert [holder.stdout.readline() for holder in holders if holder.stdout] == ["held\n"] * 8


def test_all_shards_of_a_split_hold_it_together(tmp_path: Path, impatient: None) -> None:
    with contextlib.ExitStack() as together:
        for number in range(1, 9):
            together.enter_context(lock(tmp_path, Shard(number, 8)))
        for other in (None, Shard(8, 8), Shard(1, 4)):
            with pytest.raises(UserError, match="is running"), lock(tmp_path, other):
                pass
    with lock(tmp_path):
        pass


def test_a_dying_run_is_waited_for(tmp_path: Path) -> None:
    with held(tmp_path, seconds=1) as holder:
        with lock(tmp_path):
            pass
        assert holder.wait(timeout=10) == 0


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOTSUP, errno.EBADF])
def test_a_file_system_without_locks_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A file that is made instead of a lock would stay after kill -9. The same for what is made
    once in the cache, and for a training."""

    def absent(file: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", absent)
    monkeypatch.setattr("fcntl.lockf", absent)
    life = Life(tmp_path / "life")
    for held in (
        lock(tmp_path),
        alone(tmp_path / "thing", "base", print),
        only_one(tmp_path / "checkpoints", life, lambda: False),
    ):
        with pytest.raises(UserError, match=r"locks no files .*put results/ and cache/ on a"), held:
            pytest.fail("nothing may run without a lock")


def test_a_place_that_cannot_be_a_run_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match="cannot be used as a run directory"),
        lock(tmp_path / "file"),
    ):
        pass


FORKS = HOLD.replace(
    'print("held", flush=True)',
    """import os
    child = os.fork()
    print(child, flush=True) if child else None""",
)


def test_a_hung_child_of_a_killed_run_does_not_hold_it(tmp_path: Path, impatient: None) -> None:
    command = [sys.executable, "-c", FORKS, str(tmp_path), "60", ""]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        child = int(run.stdout.readline())
        run.kill()
        run.wait()
        try:
            with lock(tmp_path):
                os.kill(child, 0)  # it still lives
        finally:
            os.kill(child, signal.SIGKILL)
