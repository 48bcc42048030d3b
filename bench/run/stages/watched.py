"""Child processes of a stage: logged, watched for signs of life, and never left behind."""

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from wmvla.watch.children import Child, kill_hung, start, stop
from wmvla.watch.life import Silence, life_path, read_sign

SILENCE = 3600.0
"""Seconds without a sign of life after which a training or a tripwire counts as hung. The longest
that a working one is silent for is its first step, or loading from a slow network."""
POLL_SECONDS = 0.5
BEGINS = "=== begins at "
"""How an attempt's part of a log begins."""


@contextmanager
def log_of_attempt(log: Path) -> Iterator[IO[str]]:
    """A log opened at its end, after a line that says when this attempt began."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        file.write(f"{BEGINS}{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}\n")
        file.flush()
        yield file


def latest_attempt(log: Path) -> str:
    """What the last attempt wrote to a log; empty where there is no log."""
    text = log.read_text(errors="replace") if log.is_file() else ""
    return text.rpartition(BEGINS)[2]


@contextmanager
def running(
    command: list[str], job: Path, output: IO[str], **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A child that was given the file `job`, with those variables too; ended with the block."""
    child = start(command, output, {**os.environ, **environment})
    try:
        yield child
    finally:
        stop(child, life_path(job))


def wait_while_alive(
    child: Child, case: str, job: Path, log: Path, files: Sequence[Path] = ()
) -> Iterator[None]:
    """Yields again and again until the child has ended. RuntimeError, after its processes wrote
    their stacks to the log and were killed, where neither its sign of life, its log, nor one of
    `files` has changed for ``SILENCE`` seconds."""
    life_path(job).unlink(missing_ok=True)  # of an earlier attempt
    silence = Silence([life_path(job), log, *files])
    while child.poll() is None:
        if silence.seconds() > SILENCE:
            sign = read_sign(life_path(job))
            kill_hung(child)
            since = f"after {sign.at}" if sign else "since it began"
            raise RuntimeError(
                f"{case} hung: no sign of life for {SILENCE / 60:.0f} min {since}; the stacks of"
                f" its processes are in {log}"
            )
        yield
        time.sleep(POLL_SECONDS)
