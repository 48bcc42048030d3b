"""SIGTERM ends a job in order when its time is up, and the same command continues it."""

import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType

STOPPED = 128 + signal.SIGTERM
"""Exit code of what SIGTERM stopped, as a shell gives it."""


@contextmanager
def _on_sigterm(act: Callable[[int], None]) -> Iterator[list[int]]:
    """Call `act` at each SIGTERM as long as the block lasts; yields the list of those that came."""
    came: list[int] = []

    def handler(number: int, frame: FrameType | None) -> None:
        came.append(number)
        act(len(came))

    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield came
    finally:
        signal.signal(signal.SIGTERM, before)


def interrupt_on_sigterm() -> AbstractContextManager[list[int]]:
    """Let the first SIGTERM interrupt this process as Ctrl-C does; yields the signals that came.
    Non-obvious: Slurm may signal twice. The second must not cut short a checkpoint's writing."""

    def interrupt(number_of_signals: int) -> None:
        if number_of_signals == 1:
            raise KeyboardInterrupt("SIGTERM")

    return _on_sigterm(interrupt)


def handed_on(child: subprocess.Popen[bytes]) -> AbstractContextManager[list[int]]:
    """Hand SIGTERM on to a child as long as the block lasts; yields the signals that came."""
    return _on_sigterm(lambda _: child.send_signal(signal.SIGTERM))
