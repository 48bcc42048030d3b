"""Who may work in a run directory: one whole run, or the shards of one split of it."""

import contextlib
import fcntl
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from wmvla.errors import UserError
from wmvla.rollout.shard import Shard

LOCK_SECONDS = 5.0
"""How long a run directory's lock is tried for."""
NAME = re.compile(r"\.lock(?:\.(\d+)-of-(\d+))?", re.ASCII)
GUARD = ".lock-guard"


@contextlib.contextmanager
def lock(directory: Path, shard: Shard | None = None) -> Iterator[None]:
    """Hold the run directory, as a whole or for one shard. The kernel lets go of it on kill -9.

    Shards of one split work beside each other. UserError where a whole run, a shard of another split, or this very shard is
    at work there already; a whole run stands for itself alone.

    Non-obvious: a killed run's file can stay open for a moment after the run is gone (in a child between fork and exec, or
    while the kernel still tears it down). So the lock is tried for ``LOCK_SECONDS`` before it is refused.
    """
    directory = Path(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        own = (directory / _name(shard)).open("w")
    except OSError as error:
        raise UserError(f"{directory}: cannot be used as a run directory: {error.strerror}") from None
    deadline = time.monotonic() + LOCK_SECONDS
    with own:
        while (busy := _try(directory, own, shard)) is not None:
            if time.monotonic() >= deadline:
                raise UserError(f"{directory}: {busy} is at work in this directory; wait for it or stop it")
            time.sleep(0.1)
        yield


def _name(shard: Shard | None) -> str:
    return ".lock" if shard is None else f".lock.{shard.number}-of-{shard.of}"


def _try(directory: Path, own: IO[str], shard: Shard | None) -> str | None:
    """Take ``own``; who is in the way where it cannot be taken.

    Non-obvious: looking at the others' locks and taking one's own is one step under the guard, else two could pass each other.
    """
    with (directory / GUARD).open("w") as guard:
        if not _take(guard):
            return "another run"
        for path in sorted(directory.glob(".lock*")):
            found = NAME.fullmatch(path.name)
            other = Shard(int(found[1]), int(found[2])) if found and found[1] else None
            if not found or other == shard or (shard and other and other.of == shard.of):
                continue
            with path.open("w") as file:
                if not _take(file):
                    return "another run" if other is None else f"shard {other}"
        if not _take(own):
            return "another run" if shard is None else f"shard {shard} of another run"
    return None


def _take(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
