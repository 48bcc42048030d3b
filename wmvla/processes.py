"""Processes that work beside each other: how they end, their threads, and which of Slurm's this
one is."""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Let the kernel send this process a signal when its parent is gone, however that ended."""
    _libc.prctl(_PR_SET_PDEATHSIG, number)


def leave_with_starter() -> None:
    """End this process with the one that asked multiprocessing for it, be it in an endless loop, as
    LIBERO's resets can be.

    Non-obvious: its parent, which the kernel watches, is what it was forked from, which ends later.
    """
    from multiprocessing import parent_process
    from multiprocessing.connection import wait

    starter = parent_process()
    assert starter is not None

    def watch() -> None:
        wait([starter.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def print_to(log: Path) -> None:
    """Standard output and error of this process and its children go to the end of ``log``."""
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    with log.open("ab") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)


@contextmanager
def one_thread_per_process() -> Iterator[None]:
    """Processes started meanwhile have OMP_NUM_THREADS=1 from their first import on.

    They inherit the environment; two OpenMP threads on each of two busy cores only cost time.
    """
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before


@contextmanager
def without_main(needed: Callable[..., Any]) -> Iterator[None]:
    """Processes started meanwhile do not import the main module, unless ``needed`` is in it.

    Non-obvious: multiprocessing would import it in each of them, 5 s for a command that imports
    LeRobot, and would run a script without ``if __name__ == "__main__"`` once more. Python 3.12's
    fork server skips a ``__main__`` that it is asked to preload.
    """
    main = sys.modules["__main__"]
    if needed.__module__ != "__main__":
        sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def by_srun() -> bool:
    """Whether ``srun`` started this process as one of several, with no torchrun in between."""
    return "RANK" not in os.environ and srun_ranks() > 1


def srun_ranks() -> int:
    """How many processes this process's job step has; 1 outside of Slurm."""
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))


def srun_rank() -> int:
    """This process's number among them."""
    return int(os.environ.get("SLURM_PROCID", "0"))
