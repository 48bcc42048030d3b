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
from types import ModuleType
from typing import Any

from wmvla.processes import one_thread_per_process
from wmvla.recipe import EpisodeRow
from wmvla.rollout.episode import Answer, Query
from wmvla.rollout.worker import Simulators, serve

START = 300.0
"""Seconds that a process may take to come to life on a crowded machine."""


@dataclass
class Simulator:
    """A process, the episode that it plays, and its query while that waits for an answer.

    ``heard`` is when it last gave a sign of life or was given something to do, ``task`` the one
    whose simulation it has.
    """

    process: BaseProcess
    connection: Connection
    silence: float
    alive: bool = False
    heard: float = 0.0
    task: int | None = None
    row: EpisodeRow | None = None
    query: Query | None = None
    kept: dict[str, Any] = field(default_factory=dict)
    policy_cpu: float = 0.0
    policy_batch: int = 0

    def hear(self) -> tuple[Any, ...]:
        """Its next message, which has begun to arrive.

        Raises:
            EOFError, ConnectionResetError: the process is dead.
            BlockingIOError: it stopped in the middle of the message.
        """
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
        self._send(answer.actions)

    def overdue(self) -> bool:
        """Whether it has been silent for too long.

        Nobody waits for one whose query is not answered yet, nor is one silent whose message was
        not looked at.
        """
        if self.row is None or self.query is not None:
            return False
        patience = self.silence if self.alive else max(self.silence, START)
        return time.monotonic() - self.heard > patience and not self.connection.poll()

    def exit_code(self) -> int | None:
        self.process.join(timeout=5)
        return self.process.exitcode

    def stop(self) -> None:
        self.connection.close()
        self.process.kill()
        self.process.join()

    def _send(self, what: Any) -> None:
        self.heard = time.monotonic()
        # That the process is dead is noticed, and reported, by the next wait on its connection.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send(what)


def start(simulators: Simulators, silence: float) -> Simulator:
    """A new process, which counts as hung after ``silence`` seconds without a message."""
    context = _context()
    ours, theirs = context.Pipe()
    _bound_transfers(ours, silence)
    process = context.Process(target=serve, args=(theirs, simulators), daemon=True)
    with one_thread_per_process(), _without_main(simulators):
        process.start()
    theirs.close()
    return Simulator(process, ours, silence, heard=time.monotonic())


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
    """Processes started meanwhile do not import the program's main module, unless what makes their
    simulations is in it.

    Non-obvious: multiprocessing would import it in each of them, 5 s for a command that imports
    LeRobot, and would run a script without ``if __name__ == "__main__"`` once more. Python 3.12's
    fork server skips a ``__main__`` that it is told to preload.
    """
    main = sys.modules["__main__"]
    if simulators.make.__module__ != "__main__":
        sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _bound_transfers(connection: Connection, seconds: float) -> None:
    """Let a message that stops half-way for ``seconds`` raise BlockingIOError, instead of waiting
    for the rest for ever."""
    timeout = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
    with socket.socket(fileno=os.dup(connection.fileno())) as end:
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            end.setsockopt(socket.SOL_SOCKET, option, timeout)
