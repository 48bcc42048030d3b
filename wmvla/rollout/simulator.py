"""A simulator process as the engine sees it: how it is started, heard and ended."""

import contextlib
import os
import socket
import struct
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import Any

from wmvla.processes import one_thread_per_process
from wmvla.recipe import EpisodeRow
from wmvla.rollout.episode import Answer, Query
from wmvla.rollout.worker import Simulators, serve
from wmvla.watch.phase import LENGTH
from wmvla.watch.stacks import request

START = 300.0
"""Seconds that a process may take to come to life on a crowded machine."""
DUMP = 2.0
"""Seconds that a hung process is given to write its stack, within a signal's handler."""


@dataclass
class Simulator:
    """A process, the episode that it plays, and its query while that waits for an answer.

    ``heard`` is when it last gave a sign of life or was given something to do, ``task`` the one
    whose simulation it has. ``phase``: the shared text that says what it is at; ``number`` and
    ``log``: of its place in the pool, which the one that replaces it takes.
    """

    process: BaseProcess
    connection: Connection
    silence: float
    number: int
    log: Path | None
    phase: Any
    alive: bool = False
    heard: float = 0.0
    task: int | None = None
    row: EpisodeRow | None = None
    query: Query | None = None
    kept: dict[str, Any] = field(default_factory=dict)
    policy_cpu: float = 0.0
    policy_batch: int = 0

    def hear(self) -> tuple[Any, ...]:
        """Its next message, which has begun to arrive. EOFError, ConnectionResetError: the process
        is dead. BlockingIOError: it stopped in the middle of the message."""
        message = self.connection.recv()
        self.alive, self.heard = True, time.monotonic()
        return message

    def play(self, row: EpisodeRow) -> None:
        self.row, self.query, self.kept = row, None, {}
        self.policy_cpu, self.policy_batch = 0.0, 0
        self._send(row)

    def answer(self, answer: Answer, batch: int) -> None:
        """Send the actions; ``batch`` queries were answered together."""
        self.query = None
        self.policy_cpu += answer.cpu_seconds
        self.policy_batch = max(self.policy_batch, batch)
        self._send(answer.actions if answer.fault is None else answer.fault)

    def overdue(self) -> bool:
        """Whether it has been silent for too long. Nobody waits for one whose query is not answered
        yet, nor is one silent whose message was not looked at."""
        if self.row is None or self.query is not None:
            return False
        patience = self.silence if self.alive else max(self.silence, START)
        return time.monotonic() - self.heard > patience and not self.connection.poll()

    def exit_code(self) -> int | None:
        self.process.join(timeout=5)
        return self.process.exitcode

    def where(self) -> str:
        """At what it was last, in which episode, and which file says more."""
        assert self.row is not None
        at = self.phase.value.decode(errors="replace") or "between two steps"
        episode = f"{self.row.suite} task {self.row.task}, initial state {self.row.init}"
        log = "" if self.log is None else f"; see {self.log.parent.name}/{self.log.name}"
        return f"in {at} of {episode}{log}"

    def dump(self, reason: str) -> None:
        """Let a hung process write its stack, after a line that says why."""
        line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} simulator {self.number}: {reason}\n"
        if self.log is None:
            print(line, end="", file=sys.stderr, flush=True)
        else:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("a") as file:
                file.write(line)
        assert self.process.pid is not None
        before = self._logged()
        request([self.process.pid])
        deadline = time.monotonic() + DUMP
        while self._logged() in (before, None) and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.1)

    def _logged(self) -> int | None:
        return None if self.log is None else self.log.stat().st_size

    def stop(self) -> None:
        """End it; a log in which it wrote nothing goes with it."""
        self.connection.close()
        self.process.kill()
        self.process.join()
        if self.log is not None and self.log.is_file() and not self.log.stat().st_size:
            self.log.unlink(missing_ok=True)

    def _send(self, what: Any) -> None:
        self.heard = time.monotonic()
        # That the process is dead is noticed, and reported, by the next wait on its connection.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send(what)


def start(simulators: Simulators, silence: float, number: int) -> Simulator:
    """A new process in place ``number`` of the pool, hung after ``silence`` s without a message."""
    context = _context()
    ours, theirs = context.Pipe()
    _bound_transfers(ours, silence)
    log, phase = simulators.log(number), context.RawArray("c", LENGTH)
    phase.value = b"start"
    process = context.Process(target=serve, args=(theirs, simulators, log, phase), daemon=True)
    with one_thread_per_process(), _without_main(simulators):
        process.start()
    theirs.close()
    return Simulator(process, ours, silence, number, log, phase, heard=time.monotonic())


_rendering_of_server: list[str | None] = []
"""MUJOCO_GL when this process first asked for its fork server."""


def _context() -> ForkServerContext | SpawnContext:
    """How processes are started: forked from a server that has imported what they need.

    Non-obvious: they are not forked from this process, whose torch has threads and perhaps a GPU.
    There is one fork server for the life of this process, with the environment of its start; under
    another renderer new processes are spawned.
    """
    rendering = os.environ.get("MUJOCO_GL", "osmesa")
    if not _rendering_of_server:
        _rendering_of_server.append(rendering)
    if _rendering_of_server != [rendering]:
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload(["wmvla.rollout.preload"])
    return context


@contextlib.contextmanager
def _without_main(simulators: Simulators) -> Iterator[None]:
    """Processes started meanwhile do not import the main module, unless ``make`` is in it.

    Non-obvious: multiprocessing would import it in each of them, 5 s for a command that imports
    LeRobot, and would run a script without ``if __name__ == "__main__"`` once more. Python 3.12's
    fork server skips a ``__main__`` that it is asked to preload.
    """
    main = sys.modules["__main__"]
    if simulators.make.__module__ != "__main__":
        sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _bound_transfers(connection: Connection, seconds: float) -> None:
    """Let a message that stops half-way for ``seconds`` raise BlockingIOError."""
    timeout = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
    with socket.socket(fileno=os.dup(connection.fileno())) as end:
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            end.setsockopt(socket.SOL_SOCKET, option, timeout)
