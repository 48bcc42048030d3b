"""What things take: wall seconds that wait for a GPU, CPU seconds, and two that take turns."""

import resource
import time
from collections.abc import Callable
from typing import Any

import torch


def seconds_of(work: Callable[[], object], device: str, repeats: int) -> float:
    """Mean seconds of `work` when it is asked for `repeats` times in a row. Non-obvious: a GPU
    works behind the caller's back. It is waited for at both ends, not between."""
    _wait(device)
    began = time.perf_counter()
    for _ in range(repeats):
        work()
    _wait(device)
    return (time.perf_counter() - began) / repeats


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds of this process, all threads."""
    began = time.process_time()
    work()
    return time.process_time() - began


def children_cpu_seconds() -> float:
    """CPU seconds of all child processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def take_turns(
    benchmark: Any, one: Callable[[], float], other: Callable[[], float], rounds: int
) -> tuple[list[float], list[float]]:
    """What two measurements give in turns, so that a busy neighbour slows both. The benchmark's
    time is the other's."""
    found: tuple[list[float], list[float]] = ([], [])
    benchmark.pedantic(
        lambda: found[1].append(other()), setup=lambda: found[0].append(one()), rounds=rounds
    )
    return found


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
