"""Trainings and tripwires on the CPU: forked from a process that has imported what they need, which
takes them 8 CPU seconds each.

On a GPU each is a Python of its own: what drives a GPU may not be forked.
"""

import os
import runpy
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import IO

import psutil

from bench.run.stages import watched
from wmvla.forks import Fork, Template
from wmvla.processes import die_with_parent
from wmvla.watch.children import STARTER, kill, stop
from wmvla.watch.life import life_path

GRACE = 30.0
"""Seconds that the other ranks are given to end when one has failed."""

_kept: list[Template] = []


@contextmanager
def forked(
    module: str, job: Path, output: IO[str], ranks: int = 1, **environment: str
) -> Iterator[Fork]:
    """A child that runs ``python -m module job`` in a session of its own, with those variables too,
    or that many of them as torchrun would; ended with the block."""
    if not (_kept and _kept[0].is_alive()):
        _kept[:] = [Template(get_context("spawn"), import_all, ())]
    variables = {**os.environ, **environment, STARTER: str(os.getpid())}
    child = _kept[0].fork(be_child, (module, [str(job)], variables, ranks), [output.fileno()])
    try:
        if not child.wait_for_pid(watched.SILENCE):
            kill({psutil.Process(_kept[0].process.pid)})
            _kept.pop().kill()
            raise RuntimeError(
                f"{module} could not start: importing its libraries has not ended after"
                f" {watched.SILENCE / 60:.0f} min"
            )
        yield child
    finally:
        if child.pid is None:
            child.kill()
        stop(child, life_path(job))


def import_all() -> None:
    """Non-obvious: an allocator in Arrow has a thread, which a process that is forked lacks."""
    os.environ["JE_ARROW_MALLOC_CONF"] = "background_thread:false"
    import wmvla.train.loop
    import wmvla.wiring  # noqa: F401


def be_child(
    prepared: None,
    module: str,
    arguments: list[str],
    variables: dict[str, str],
    ranks: int,
    output: int,
) -> int:
    """What ``wmvla.watch.children.start`` makes of a new process, of a forked one."""
    os.setsid()
    die_with_parent(signal.SIGTERM)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    os.environ.clear()
    os.environ.update(variables)
    if ranks > 1:
        return _launch(module, arguments, ranks)
    return _run(module, arguments)


def _run(module: str, arguments: list[str]) -> int:
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    return 0


def _launch(module: str, arguments: list[str], ranks: int) -> int:
    """Fork the ranks, with torchrun's variables; the exit code of the first that fails. The others
    are ended with it, and all of them when this process is asked to end.

    Non-obvious: the store by which they meet has a thread, so they are forked before it begins, and
    wait for its port.
    """
    reader, writer = os.pipe()
    pids = []
    for rank in range(ranks):
        pid = os.fork()
        if pid == 0:
            os.close(writer)
            _be_rank(rank, ranks, reader)
            return _run(module, arguments)
        pids.append(pid)
    os.close(reader)
    # Only those that are not waited for yet: a number that is free may be another's by now.
    living = set(pids)
    signal.signal(signal.SIGTERM, lambda number, frame: _signal(living, signal.SIGTERM))
    from torch.distributed import TCPStore

    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    os.write(writer, b"%5d" % store.port * ranks)
    os.close(writer)
    return _wait(living)


def _be_rank(rank: int, ranks: int, reader: int) -> None:
    os.setsid()
    die_with_parent(signal.SIGTERM)
    port = os.read(reader, 5).decode().strip()
    if not port:
        sys.exit(1)  # the launcher is gone
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(ranks),
        LOCAL_WORLD_SIZE=str(ranks),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=port,
        TORCHELASTIC_USE_AGENT_STORE="True",
    )


def _wait(living: set[int]) -> int:
    failed, deadline = 0, float("inf")
    while living:
        for pid in list(living):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if not ended:
                continue
            living.remove(pid)
            code = os.waitstatus_to_exitcode(status)
            if code and not failed:
                failed, deadline = code, time.monotonic() + GRACE
                _signal(living, signal.SIGTERM)
        if time.monotonic() > deadline:
            _signal(living, signal.SIGKILL)
        time.sleep(0.05)
    return failed if failed >= 0 else 128 - failed


def _signal(living: set[int], number: int) -> None:
    for pid in list(living):
        os.kill(pid, number)
