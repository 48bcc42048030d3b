"""Who may work in a run directory: one whole run, shards of one split, or single cases."""

import contextlib
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from wmvla.errors import UserError
from wmvla.files import make_folder, refuse_no_locks
from wmvla.lock_probe import network_locks, refuse_ignored_lock
from wmvla.rollout.shard import Shard

LOCK_SECONDS = 5.0
"""How long a run directory's lock is tried for."""
GUARD_SECONDS = 60.0
"""How long a turn at the locks is waited for: many jobs of a cluster may begin at once."""
NAME = re.compile(r"\.lock(?:\.case-([\w-]+))?(?:\.(\d+)-of-(\d+))?", re.ASCII)
GUARD = ".lock-guard"


@dataclass(frozen=True)
class _Work:
    """What a lock file stands for: a case, or None for all; a shard, or None for the whole."""

    case: str | None
    shard: Shard | None

    @property
    def file(self) -> str:
        case = "" if self.case is None else f".case-{self.case}"
        shard = "" if self.shard is None else f".{self.shard.number}-of-{self.shard.of}"
        return f".lock{case}{shard}"

    def bears(self, other: "_Work") -> bool:
        """Whether both may be done at the same time: they share no episode and no file."""
        if self.case != other.case and None not in (self.case, other.case):
            return True
        if self.shard is None or other.shard is None or self.shard.of != other.shard.of:
            return False
        return self.shard.number != other.shard.number

    def __str__(self) -> str:
        named = (("shard", self.shard), ("case", self.case))
        return " of ".join(f"{kind} {one}" for kind, one in named if one) or "another run"


@contextlib.contextmanager
def lock(directory: Path, shard: Shard | None = None, cases: Sequence[str] = ()) -> Iterator[None]:
    """Hold the run directory as a whole, or for one shard, or for some `cases` of it. The kernel
    lets go of it on kill -9, and no forked child holds it.

    Shards of one split work beside each other, and so do different cases. UserError where a whole
    run, a shard of another split, this very shard, or one of these cases is at work there already;
    a whole run stands for itself alone. UserError too where the file system has no locks, or
    ignores them; of a network's one line says what is known of its locks.

    Non-obvious: a killed run's file can stay open for a moment after the run is gone (in a child
    between fork and exec, or while the kernel still tears it down). So the lock is tried for
    ``LOCK_SECONDS`` before it is refused.
    """
    directory = Path(directory)
    wanted = [_Work(case, shard) for case in sorted(set(cases))] or [_Work(None, shard)]
    with contextlib.ExitStack() as own:
        deadline = time.monotonic() + LOCK_SECONDS
        try:
            make_folder(directory)
            while (busy := _try(directory, wanted, own)) is not None:
                if time.monotonic() >= deadline:
                    raise UserError(
                        f"{directory}: {busy} is running in this directory; wait for it or stop it"
                    )
                time.sleep(0.1)
            refuse_ignored_lock(directory / wanted[0].file)
        except OSError as error:
            refuse_no_locks(directory, error)
            raise UserError(
                f"{directory}: cannot be used as a run directory: {error.strerror}"
            ) from None
        if known := network_locks(directory):
            print(known, file=sys.stderr, flush=True)
        yield


def _try(directory: Path, wanted: Sequence[_Work], own: contextlib.ExitStack) -> str | None:
    """Take all that is wanted, to be given back by `own`; else none, and who is in the way.

    Non-obvious: looking at the others' locks and taking one's own is one step under the guard, else
    two could pass each other.
    """
    with contextlib.ExitStack() as taken:
        if not _take(directory / GUARD, guard := contextlib.ExitStack(), GUARD_SECONDS):
            raise UserError(
                f"{directory}: its locks could not be taken within {GUARD_SECONDS:.0f} s; check "
                "its file system"
            )
        with guard:
            for path in sorted(directory.glob(".lock*")):
                found = NAME.fullmatch(path.name)
                if not found:
                    continue
                other = _Work(found[1], Shard(int(found[2]), int(found[3])) if found[2] else None)
                if other in wanted or all(other.bears(work) for work in wanted):
                    continue
                with contextlib.ExitStack() as theirs:
                    if not _take(path, theirs):
                        return str(other)
            for work in wanted:
                if not _take(directory / work.file, taken):
                    return str(work) if work == _Work(None, None) else f"{work} of another run"
            own.enter_context(taken.pop_all())
    return None


def _take(path: Path, until: contextlib.ExitStack, seconds: float = 0.0) -> bool:
    """Lock a file, to be given back at the end of `until`.

    Non-obvious: on a file system without locks filelock would fall back to a file that outlives
    kill -9; here that is an error.
    """
    held = FileLock(
        path, timeout=seconds, poll_interval=0.02, thread_local=False, fallback_to_soft=False
    )
    try:
        until.enter_context(held)
    except Timeout:
        return False
    return True
