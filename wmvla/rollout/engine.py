"""The closed-loop engine: simulator processes on one side, one policy on the other, no barrier between episodes."""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

import numpy as np

from wmvla.errors import UserError
from wmvla.recipe import EpisodeRow
from wmvla.rollout.episode import Answer, EpisodeRecord, Query, failed
from wmvla.rollout.worker import Simulators, serve

TRIES = 3
"""How often an episode is started before it is recorded as failed."""
SILENCE = 300.0
"""Seconds without a message after which a simulator counts as hung. LIBERO's slowest reset takes about 10."""


class Policy(Protocol):
    """What answers queries, up to ``largest_batch`` of them together; 1: one at a time."""

    largest_batch: int

    def act(self, queries: Sequence[Query]) -> list[Answer]: ...


@dataclass
class _Worker:
    """A simulator process and the episode it plays."""

    process: BaseProcess
    connection: Connection
    row: EpisodeRow | None = None
    heard: float = 0.0
    policy_cpu: float = 0.0
    kept: dict[str, Any] = field(default_factory=dict)


def roll_out(
    rows: Sequence[EpisodeRow],
    policy: Policy,
    simulators: Simulators,
    workers: int,
    on_episode: Callable[[EpisodeRow, EpisodeRecord], None],
    silence: float = SILENCE,
    on_film: Callable[[EpisodeRow, np.ndarray], None] | None = None,
) -> None:
    """Play every row once; ``on_episode`` gets each record as soon as the episode ends, in no particular order.
    Where ``simulators.film``, ``on_film`` gets the front camera's frames (steps + 1, H, W, 3) uint8 of an episode that was
    played to its end, before ``on_episode``.

    A simulator that raises, dies or is silent for ``silence`` seconds is replaced, and its episode is started again, at most
    ``TRIES`` times.

    Raises:
        UserError: no simulator could play anything (for instance: no OpenGL), with the first reason.
    """
    todo = deque(rows)
    tries: dict[int, int] = {}
    pool: list[_Worker] = []
    played = 0
    try:
        while todo or any(worker.row for worker in pool):
            while len(pool) < min(workers, len(todo) + sum(w.row is not None for w in pool)):
                pool.append(_start(simulators))
            for worker in pool:
                if worker.row is None and todo:
                    _send_row(worker, todo.popleft())
            ready = wait([w.connection for w in pool if w.row], timeout=1.0)
            for worker in [w for w in pool if w.connection in ready]:
                trouble = _hear(worker, policy, on_episode, on_film)
                if trouble is None:
                    played += worker.row is None
                    continue
                pool.remove(worker)
                _give_up(worker, "error", trouble, tries, todo, on_episode, played)
            # One whose message waits for a busy policy is not silent.
            for worker in [w for w in pool if w.row and _quiet_for(w) > silence and not w.connection.poll()]:
                pool.remove(worker)
                reason = f"no sign of life for {silence:.0f} s"
                _give_up(worker, "timeout", reason, tries, todo, on_episode, played)
    finally:
        for worker in pool:
            _stop(worker)


def _start(simulators: Simulators) -> _Worker:
    # spawn: a forked child would inherit torch's threads and an OpenGL library in an unknown state
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, simulators), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours, heard=time.monotonic())


def _quiet_for(worker: _Worker) -> float:
    """Seconds since the worker was last heard or answered."""
    return time.monotonic() - worker.heard


def _send_row(worker: _Worker, row: EpisodeRow) -> None:
    worker.row, worker.heard, worker.policy_cpu, worker.kept = row, time.monotonic(), 0.0, {}
    # One that died between episodes is noticed, and reported, by the next wait on its connection.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        worker.connection.send(row)


def _hear(
    worker: _Worker,
    policy: Policy,
    on_episode: Callable[[EpisodeRow, EpisodeRecord], None],
    on_film: Callable[[EpisodeRow, np.ndarray], None] | None,
) -> str | None:
    """Handle one message; the reason when the worker is of no use any more."""
    assert worker.row is not None
    try:
        message = worker.connection.recv()
        worker.heard = time.monotonic()
        if message[0] == "error":
            return message[1]
        if message[0] == "done":
            _, record, film = message
            if film is not None and on_film is not None:
                on_film(worker.row, film)
            cpu = record.cpu_seconds + worker.policy_cpu
            on_episode(worker.row, replace(record, cpu_seconds=cpu, policy_batch=1))
            worker.row = None
            return None
        _, number, step, language, state, images, frames = message
        (answer,) = policy.act([Query(worker.row, number, step, language, state, images, frames, worker.kept)])
        worker.policy_cpu += answer.cpu_seconds
        worker.connection.send(answer.actions)
        worker.heard = time.monotonic()
    except (EOFError, ConnectionResetError, BrokenPipeError):
        worker.process.join(timeout=5)
        return f"the simulator process died (exit code {worker.process.exitcode})"
    return None


def _give_up(
    worker: _Worker,
    status: str,
    reason: str,
    tries: dict[int, int],
    todo: deque[EpisodeRow],
    on_episode: Callable[[EpisodeRow, EpisodeRecord], None],
    played: int,
) -> None:
    """End the worker; put its episode back, or record it as failed."""
    _stop(worker)
    row = worker.row
    assert row is not None
    tries[row.index] = tries.get(row.index, 0) + 1
    if tries[row.index] < TRIES:
        todo.append(row)
    elif played == 0:
        raise UserError(f"No simulator can play: {reason}. Try 'wmbench doctor'.")
    else:
        on_episode(row, failed(status, reason))


def _stop(worker: _Worker) -> None:
    worker.connection.close()
    worker.process.kill()
    worker.process.join()
