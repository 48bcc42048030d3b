"""One process at a time makes a thing of the shared cache: the next waits and finds it done."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from wmvla.errors import UserError
from wmvla.files import refuse_no_locks
from wmvla.lock_probe import refuse_ignored_lock

POLL_SECONDS = 0.5
REPEAT_SECONDS = 60.0
"""How often a wait is reported."""


@contextlib.contextmanager
def alone(thing: Path, label: str, show: Callable[[str], None]) -> Iterator[None]:
    """Be the only one who makes `thing`, on all machines that share the file system.

    Waits as long as another holds it, and says so, without end: the kernel frees the lock of a
    process that is gone, for no child holds it. UserError if the folder cannot be written, or its
    file system has no locks or ignores them.

    Non-obvious: the file beside it is never deleted: two could then hold two of one name.
    """
    path = thing.with_name(f".{thing.name}.lock")
    lock = FileLock(path, blocking=False, thread_local=False, fallback_to_soft=False)
    began = time.monotonic()
    reported = began - REPEAT_SECONDS
    with contextlib.ExitStack() as held:
        while True:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                held.enter_context(lock)
                break
            except Timeout:
                now = time.monotonic()
            except OSError as error:
                refuse_no_locks(path, error)
                raise UserError(
                    f"{path}: cannot be locked: {error.strerror}; make the cache folder writable"
                ) from None
            if now - reported >= REPEAT_SECONDS:
                minutes = f"{(now - began) / 60:.0f} min so far"
                show(f"  {label:<15} waiting for another run that makes {thing} ({minutes})")
                reported = now
            time.sleep(POLL_SECONDS)
        refuse_ignored_lock(path)
        yield
