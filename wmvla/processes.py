"""Processes that work beside each other: how they end, their threads, and which of Slurm's this
one is."""

import ctypes
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Let the kernel send this process a signal when its parent is gone, however that ended."""
    _libc.prctl(_PR_SET_PDEATHSIG, number)


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


def by_srun() -> bool:
    """Whether ``srun`` started this process as one of several, with no torchrun in between."""
    return "RANK" not in os.environ and srun_ranks() > 1


def srun_ranks() -> int:
    """How many processes this process's job step has; 1 outside of Slurm."""
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))


def srun_rank() -> int:
    """This process's number among them."""
    return int(os.environ.get("SLURM_PROCID", "0"))
