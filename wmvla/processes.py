"""Processes that share a machine's cores."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


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
