"""One training at a time writes into a folder of checkpoints: one that outlives its killed run by
its last checkpoint is waited for."""

import contextlib
import fcntl
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from wmvla.files import refuse_no_locks
from wmvla.train.life import Life

POLL_SECONDS = 0.5


@contextlib.contextmanager
def only_one(folder: Path, life: Life, asked_to_stop: Callable[[], bool]) -> Iterator[bool]:
    """Yields whether this process, rank 0 of a training, may write into ``folder``: not where it
    was asked to stop while it waited.

    Non-obvious: a record lock, which belongs to this one process. The readers that are forked from
    it do not hold it, and cannot keep it when they hang.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.with_name(f".{folder.name}.training")
    with path.open("w") as file:
        waited = False
        while not (taken := _take(path, file.fileno())) and not asked_to_stop():
            if not waited:
                print(f"waiting for an earlier training in {folder}", file=sys.stderr, flush=True)
            waited = True
            life.at("waiting for an earlier training")
            time.sleep(POLL_SECONDS)
        yield taken


def _take(path: Path, descriptor: int) -> bool:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        refuse_no_locks(path, error)
        raise
    return True
