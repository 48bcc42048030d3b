"""Python stacks of processes that hang, written by faulthandler in a signal's handler, without
Python's lock."""

import faulthandler
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

import psutil

SIGNAL = signal.SIGUSR1


def dump_on_request() -> None:
    """From now on this process writes its threads' stacks to standard error on ``request``, and
    when it crashes."""
    descriptor = sys.__stderr__.fileno() if sys.__stderr__ is not None else 2
    faulthandler.enable(descriptor)
    faulthandler.register(SIGNAL, descriptor, all_threads=True)


def request(pids: Iterable[int]) -> None:
    """Ask processes for their stacks; the signal would end those without ``dump_on_request``, which
    are left alone."""
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
