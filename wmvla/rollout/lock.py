"""Who may work in a run directory: one whole run, the shards of one split of it, or single cases
beside each other."""

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from wmvla.errors import UserError
from wmvla.rollout.shard import Shard

LOCK_SECONDS = 5.0
"""How long a run directory's lock is tried for."""
GUARD_SECONDS = 60.0
"""How long a turn at the locks is waited for: many jobs of a cluster may begin at the same
moment."""
NAME = re.compile(r"\.lock(?:\.case-([\w-]+))?(?:\.(\d+)-of-(\d+))?", re.ASCII)
GUARD = ".lock-guard"


@dataclass(frozen=True)
class _Work:
    """What one lock file stands for: a case, or None for all of them; a shard of it, or None for
    the whole."""

    case: str | None
    shard: Shard | None

    @property
    def file(self) -> str:
        case = "" if self.case is None else f".case-{self.case}"
        return f".lock{case}" + (
            "" if self.shard is None else f".{self.shard.number}-of-{self.shard.of}"
        )

    def bears(self, other: "_Work") -> bool:
        """Whether both may be done at the same time: they have no episode in common and write no
        file in common."""
        if self.case != other.case and None not in (self.case, other.case):
            return True
        if self.shard is None or other.shard is None or self.shard.of != other.shard.of:
            return False
        return self.shard.number != other.shard.number

    def __str__(self) -> str:
        parts = ([f"shard {self.shard}"] if self.shard else []) + (
            [f"case {self.case}"] if self.case else []
        )
        return " of ".join(parts) or "another run"


_held: set[int] = set()
"""Descriptors of lock files that are open here."""


@contextlib.contextmanager
def not_for_children(file: IO[str]) -> Iterator[None]:
    """Processes that are forked meanwhile do not keep a lock file open.

    Non-obvious: a lock lives as long as anyone has its file open. A forked child that hangs would
    hold it, for ever, after this process is gone.
    """
    _held.add(file.fileno())
    try:
        yield
    finally:
        _held.discard(file.fileno())


def _let_go() -> None:
    """Nothing takes the files' place, so that whoever closes them later closes no other file."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in _held:
        os.dup2(nothing, descriptor, inheritable=False)
    os.close(nothing)
    _held.clear()


os.register_at_fork(after_in_child=_let_go)


@contextlib.contextmanager
def lock(directory: Path, shard: Shard | None = None, cases: Sequence[str] = ()) -> Iterator[None]:
    """Hold the run directory as a whole, or for one shard, or for some `cases` of it. The kernel
    lets go of it on kill -9.

    Shards of one split work beside each other, and so do different cases. UserError where a whole
    run, a shard of another split, this very shard, or one of these cases is at work there already;
    a whole run stands for itself alone.

    Non-obvious: a killed run's file can stay open for a moment after the run is gone (in a child
    between fork and exec, or while the kernel still tears it down). So the lock is tried for
    ``LOCK_SECONDS`` before it is refused.
    """
    directory = Path(directory)
    wanted = [_Work(case, shard) for case in sorted(set(cases))] or [_Work(None, shard)]
    with contextlib.ExitStack() as own:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            files = {work: own.enter_context((directory / work.file).open("w")) for work in wanted}
        except OSError as error:
            raise UserError(
                f"{directory}: cannot be used as a run directory: {error.strerror}"
            ) from None
        for file in files.values():
            own.enter_context(not_for_children(file))
        deadline = time.monotonic() + LOCK_SECONDS
        while (busy := _try(directory, files)) is not None:
            if time.monotonic() >= deadline:
                raise UserError(
                    f"{directory}: {busy} is at work in this directory; wait for it or stop it"
                )
            time.sleep(0.1)
        yield


def _try(directory: Path, files: Mapping[_Work, IO[str]]) -> str | None:
    """Take all of the files; who is in the way where they cannot be taken, and then none is.

    Non-obvious: looking at the others' locks and taking one's own is one step under the guard, else
    two could pass each other.
    """
    with (directory / GUARD).open("w") as guard:
        _wait_for(guard, directory)
        for path in sorted(directory.glob(".lock*")):
            found = NAME.fullmatch(path.name)
            if not found:
                continue
            other = _Work(found[1], Shard(int(found[2]), int(found[3])) if found[2] else None)
            if other in files or all(other.bears(work) for work in files):
                continue
            with path.open("w") as theirs:
                if not _take(theirs):
                    return str(other)
        for taken, (work, file) in enumerate(files.items()):
            if not _take(file):
                for earlier in list(files.values())[:taken]:
                    fcntl.flock(earlier, fcntl.LOCK_UN)
                return str(work) if work == _Work(None, None) else f"{work} of another run"
    return None


def _wait_for(guard: IO[str], directory: Path) -> None:
    """Take the guard, which everybody holds for a moment only."""
    deadline = time.monotonic() + GUARD_SECONDS
    while not _take(guard):
        if time.monotonic() >= deadline:
            raise UserError(
                f"{directory}: no turn at its locks within {GUARD_SECONDS:.0f} s; is its file"
                " system all right?"
            )
        time.sleep(0.02)


def _take(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
