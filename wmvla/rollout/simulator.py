"""A simulator process as the engine sees it: how it is started, heard and ended."""

import contextlib
import os
import socket
import struct
import sys
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from wmvla.forks import Fork, Template
from wmvla.processes import one_thread_per_process, without_main
from wmvla.recipe import EpisodeRow
from wmvla.rollout.episode import Answer, Query
from wmvla.rollout.worker import Simulators, serve, serve_forked
from wmvla.sim import templates
from wmvla.watch.phase import LENGTH, new_file, text_in
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
    ``log``: of its place in the pool, which the one that replaces it takes. ``log_of_scene``: of
    the process that it is forked from.
    """

    process: BaseProcess | Fork
    connection: Connection
    silence: float
    number: int
    log: Path | None
    phase: Any
    log_of_scene: Path | None = None
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
        waits = self._waits_for_scene()
        begun = self.alive or (waits is not None and waits.phase.value != b"start")
        patience = self.silence if begun else max(self.silence, START)
        return time.monotonic() - self.heard > patience and not self.connection.poll()

    def exit_code(self) -> int | None:
        self.process.join(timeout=5)
        return self.process.exitcode

    def where(self) -> str:
        """At what it was last, in which episode, and which file says more."""
        assert self.row is not None
        waits = self._waits_for_scene()
        at = (waits or self).phase.value.decode(errors="replace") or "between two steps"
        episode = f"{self.row.suite} task {self.row.task}, initial state {self.row.init}"
        log = self.log_of_scene if waits else self.log
        see = "" if log is None else f"; see {log.parent.name}/{log.name}"
        return f"in {at} of {episode}{see}"

    def dump(self, reason: str) -> None:
        """Let a hung process write its stack, after a line that says why."""
        line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} simulator {self.number}: {reason}\n"
        waits = self._waits_for_scene()
        log = self.log_of_scene if waits else self.log
        if log is None:
            print(line, end="", file=sys.stderr, flush=True)
        else:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("a") as file:
                file.write(line)
        pid = waits.process.pid if waits else self.process.pid
        assert pid is not None
        before = None if log is None else log.stat().st_size
        request([pid])
        deadline = time.monotonic() + DUMP
        while time.monotonic() < deadline and (log is None or log.stat().st_size == before):
            time.sleep(0.02)
        time.sleep(0.1)

    def cannot_start(self, hangs: bool) -> None:
        """It ended before its simulation was made: if it shares that, let it be made anew."""
        if isinstance(self.process, Fork) and self.task is None:
            templates.forget(self.process.template, kill=hangs)

    def _waits_for_scene(self) -> Template | None:
        """What it is to be forked from, if it is not yet."""
        process = self.process
        return process.template if isinstance(process, Fork) and process.pid is None else None

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


def start(
    simulators: Simulators, silence: float, number: int, task: int, scenes: int, playing: list[int]
) -> Simulator:
    """A new process in place ``number`` of the pool, hung after ``silence`` s without a message.

    If the simulation of ``task`` is built once, it is forked from the process that has it; of these
    ``scenes`` live at most, those of the tasks ``playing`` among them.
    """
    ours, theirs = Pipe()
    _bound_transfers(ours, silence)
    log = simulators.log(number)
    if not simulators.built_once:
        context = templates.context()
        phase = context.RawArray("c", LENGTH)
        phase.value = b"start"
        process = context.Process(target=serve, args=(theirs, simulators, log, phase), daemon=True)
        with one_thread_per_process(), without_main(simulators.make):
            process.start()
        theirs.close()
        return Simulator(process, ours, silence, number, log, phase, heard=time.monotonic())
    make, environment = simulators.make, simulators.environment
    log_of_scene, file = simulators.log_of_scene(task), new_file()
    template = templates.template_of(make, environment, task, log_of_scene, scenes, playing)
    fork = template.fork(serve_forked, (simulators, task, log), (theirs.fileno(), file))
    phase = text_in(file)
    os.close(file)
    theirs.close()
    now = time.monotonic()
    return Simulator(fork, ours, silence, number, log, phase, log_of_scene, heard=now)


def _bound_transfers(connection: Connection, seconds: float) -> None:
    """Let a message that stops half-way for ``seconds`` raise BlockingIOError."""
    timeout = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
    with socket.socket(fileno=os.dup(connection.fileno())) as end:
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            end.setsockopt(socket.SOL_SOCKET, option, timeout)
