"""Python stacks of processes that hang, written by faulthandler from inside a signal's handler: it
needs neither Python's lock nor the help of what hangs."""

import faulthandler
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

import psutil

SIGNAL = signal.SIGUSR1


def dump_on_request() -> None:
    """From now on this process writes the stacks of its threads to standard error when it is asked
    to (``request``), and when it crashes."""
    descriptor = sys.__stderr__.fileno() if sys.__stderr__ is not None else 2
    faulthandler.enable(descriptor)
    faulthandler.register(SIGNAL, descriptor, all_threads=True)


def request(pids: Iterable[int]) -> None:
    """Ask processes for their stacks; those that never called ``dump_on_request`` are left alone.

    Non-obvious: the signal would end them.
    """
    for pid in pids:
        if _listens(pid):
            psutil.Process(pid).send_signal(SIGNAL)


def _listens(pid: int) -> bool:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return False
    caught = next((line.split()[1] for line in lines if line.startswith("SigCgt:")), "0")
    return bool(int(caught, 16) >> (SIGNAL - 1) & 1)
