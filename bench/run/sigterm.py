"""SIGTERM, by which a cluster says that a job's time is up: the work stops in order, and the same
command continues it."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPPED = 128 + signal.SIGTERM
"""Exit code of what SIGTERM stopped, as a shell gives it."""


@contextmanager
def interrupt_on_sigterm() -> Iterator[list[int]]:
    """Let the first SIGTERM interrupt this process as Ctrl-C does as long as the block lasts; those
    after it do nothing. The yielded list holds the signals that came.

    Non-obvious: Slurm signals every process of a job, and may do so twice. The second one must not
    cut short the waiting for a training that writes its checkpoint.
    """
    came: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        came.append(number)
        if len(came) == 1:
            raise KeyboardInterrupt("SIGTERM")

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield came
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def handed_on(child: subprocess.Popen[bytes]) -> Iterator[list[int]]:
    """Hand SIGTERM on to a child as long as the block lasts; the yielded list holds the signals
    that came."""
    came: list[int] = []

    def hand_on(number: int, frame: FrameType | None) -> None:
        came.append(number)
        child.send_signal(number)

    before = signal.signal(signal.SIGTERM, hand_on)
    try:
        yield came
    finally:
        signal.signal(signal.SIGTERM, before)
