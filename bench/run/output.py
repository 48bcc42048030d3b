"""Where output goes: of libraries and children into a case's log, progress to the terminal."""

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

STREAMS = (1, 2)
"""The descriptors of standard output and standard error."""


@contextmanager
def printed_to(log: Path) -> Iterator[None]:
    """Append to `log` what this process, and those it starts, print while the block lasts, and the
    traceback of what ends it. A log in which nothing stands is removed. Non-obvious: by
    descriptors, for other languages, processes and loggers that keep a stream."""
    log.parent.mkdir(parents=True, exist_ok=True)
    kept = [os.dup(stream) for stream in STREAMS]
    try:
        with log.open("a") as file:
            _point_to([file.fileno()] * len(STREAMS))
            try:
                yield
            except Exception:
                traceback.print_exc(file=file)
                raise
    finally:
        _point_to(kept)
        for stream in kept:
            os.close(stream)
        if log.is_file() and not log.stat().st_size:
            log.unlink()


def _point_to(targets: list[int]) -> None:
    try:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    finally:  # where the disk of the log is full, too
        for number, target in zip(STREAMS, targets, strict=True):
            os.dup2(target, number)


@contextmanager
def terminal() -> Iterator[Callable[[str], None]]:
    """Print a line at once to where standard output goes when the block begins."""
    try:
        kept = os.dup(sys.stdout.fileno())
    except OSError:  # no file: a stream of whoever called this from Python
        yield lambda line: print(line, flush=True)
        return
    with os.fdopen(kept, "w") as file:
        yield lambda line: print(line, file=file, flush=True)
