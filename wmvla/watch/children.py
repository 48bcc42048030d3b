"""How a child process ends: with its parent, in order when asked to, and by force if it hangs."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import IO, Any, Protocol

import psutil

from wmvla.processes import die_with_parent
from wmvla.watch.life import Silence, read_sign
from wmvla.watch.stacks import request


class Child(Protocol):
    """A process that this one started: of ``subprocess``, or forked (``wmvla.forks``); without a
    ``pid`` until that has happened."""

    @property
    def pid(self) -> int | None: ...
    @property
    def returncode(self) -> int | None: ...
    def poll(self) -> int | None: ...
    def wait(self) -> int: ...


STARTER = "WMVLA_STARTER"
"""Environment variable: the process for which a child works, its parent or one above."""
GRACE = 15.0
"""Seconds without a sign of life after which a child that was asked to end counts as hung."""
LONGEST = 900.0
"""Seconds that a child may take to end, whatever it signs."""
DUMP = 1.0
"""Seconds that hung processes are given to write their stacks."""
POLL = 0.25


def start(
    command: list[str], output: IO[Any], environment: dict[str, str]
) -> subprocess.Popen[bytes]:
    """A process in a session of its own, which is asked to end when this one is gone.

    Non-obvious: a terminal's Ctrl-C is for this process, which ends its children in order. None of
    this one's files stay open in it, so that it holds no lock.
    """
    return subprocess.Popen(
        command,
        stdout=output,
        stderr=subprocess.STDOUT,
        env={**environment, STARTER: str(os.getpid())},
        start_new_session=True,
        preexec_fn=lambda: die_with_parent(signal.SIGTERM),
    )


def end(root: psutil.Process, life: Path) -> None:
    """Ask a process to end; if it hangs, let it and its children write their stacks, and kill them.

    It hangs when it neither ends nor signs in the file ``life`` for ``GRACE`` seconds, or for as
    long as its last sign says.
    """
    family = _family(root)
    silence = Silence([life])
    deadline = time.monotonic() + LONGEST
    _send(root, signal.SIGTERM)
    while lives(root):
        sign = read_sign(life)
        patience = max(GRACE, sign.patience if sign else 0.0)
        if silence.seconds() > patience or time.monotonic() > deadline:
            break
        time.sleep(POLL)
        family |= _family(root)
    deadline = time.monotonic() + DUMP
    while not lives(root) and any(map(lives, family)) and time.monotonic() < deadline:
        time.sleep(POLL)  # what it started ends with it, in a moment
    kill(family)


def kill(family: set[psutil.Process]) -> None:
    """Let processes write their stacks, and kill them; those that have ended are left out."""
    left = [process for process in family if lives(process)]
    if not left:
        return
    request(process.pid for process in left)
    time.sleep(DUMP)
    for process in left:
        _send(process, signal.SIGKILL)


def stop(child: Child, life: Path) -> int:
    """``end`` a child of this process, all that it started too; its exit code."""
    if child.poll() is None and child.pid is not None:
        end(psutil.Process(child.pid), life)
    return child.wait()


def kill_hung(child: Child) -> None:
    """Kill a child that hangs, with all that it started, after their stacks are written."""
    assert child.pid is not None
    kill(_family(psutil.Process(child.pid)))
    child.wait()


def lives(process: psutil.Process) -> bool:
    """Whether a process goes on; one that has ended and is not waited for yet does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _family(root: psutil.Process) -> set[psutil.Process]:
    """A process and all that it started, but not this process."""
    try:
        found = {root, *root.children(recursive=True)}
    except psutil.NoSuchProcess:
        return set()
    return {process for process in found if process.pid != os.getpid()}


def _send(process: psutil.Process, number: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)
