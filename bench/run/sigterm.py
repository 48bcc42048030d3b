"""SIGTERM, by which a cluster says that a job's time is up: the work stops in order, and the same
command continues it."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

STOPPED = 128 + signal.SIGTERM
"""Exit code of what SIGTERM stopped, as a shell gives it."""


def interrupt_on_sigterm() -> None:
    """Let the first SIGTERM interrupt this process as Ctrl-C does; those after it do nothing.

    Non-obvious: Slurm signals every process of a job, and a parent hands the signal on besides. The
    second one must not cut short the waiting for a training that writes its checkpoint.
    """

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        signal.signal(signal.SIGTERM, lambda number, frame: None)
        raise KeyboardInterrupt("SIGTERM")

    signal.signal(signal.SIGTERM, interrupt)


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
