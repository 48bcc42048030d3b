"""The closed-loop engine: simulator processes, one policy, no barrier between episodes."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing.connection import wait
from typing import Protocol

import numpy as np

from wmvla.errors import UserError
from wmvla.recipe import EpisodeRow
from wmvla.rollout.episode import Answer, EpisodeRecord, Query
from wmvla.rollout.simulator import Simulator, start
from wmvla.rollout.todo import Todo
from wmvla.rollout.worker import Simulators
from wmvla.sim.templates import scenes_that_fit

SILENCE = 300.0
"""Seconds without a message after which a simulator counts as hung; LIBERO resets in up to 10."""
WAITING = 64
"""Simulators that may wait for their scenes; so many requests fit into a socket's buffer."""
LOOK = 1.0
"""Seconds between two looks for hung simulators."""


class Policy(Protocol):
    """What answers queries, up to ``largest_batch`` of them together; 1: one at a time."""

    largest_batch: int

    def act(self, queries: Sequence[Query]) -> list[Answer]: ...


def roll_out(
    rows: Sequence[EpisodeRow],
    policy: Policy,
    simulators: Simulators,
    workers: int,
    on_episode: Callable[[EpisodeRow, EpisodeRecord], None],
    silence: float = SILENCE,
    on_film: Callable[[EpisodeRow, np.ndarray], None] | None = None,
) -> None:
    """Play every row once; ``on_episode`` gets each record as soon as the episode ends, in no
    particular order.

    If ``simulators.film``, ``on_film`` gets the front camera's frames (steps + 1, H, W, 3) uint8 of
    an episode that was played to its end, before ``on_episode``.

    A simulator that raises, dies or is silent for ``silence`` seconds is replaced, and its episode
    is started again, at most ``todo.TRIES`` times; then it is recorded as failed, and the others go
    on.

    Non-obvious: all queries that wait when the policy is free are answered together, as many as it
    takes; it never waits for more. Of a policy that takes one at a time, the results depend neither
    on the number of workers nor on their order.

    An episode in which an action, a state or a latent is not finite ends there, as an error.

    Raises:
        UserError: no simulation could be made (for instance: no OpenGL), with the first reason; or
        one met a mistake that only the user can fix.
    """
    todo = Todo(rows, workers, on_episode)
    scenes = scenes_that_fit(simulators.environment, workers) if simulators.built_once else workers
    pool: list[Simulator] = []
    try:
        while todo or any(simulator.row for simulator in pool):
            _hand_out(todo, pool, simulators, workers, silence, scenes)
            asking = any(simulator.query for simulator in pool)
            busy = [simulator.connection for simulator in pool if simulator.row]
            ready = wait(busy, timeout=0 if asking else LOOK)
            for simulator in [simulator for simulator in pool if simulator.connection in ready]:
                trouble = _hear(simulator, todo, on_episode, on_film)
                if trouble:
                    _replace(simulator, pool, todo, *trouble)
            for simulator in [simulator for simulator in pool if simulator.overdue()]:
                reason = f"no sign of life for {silence:.0f} s {simulator.where()}"
                _replace(simulator, pool, todo, "timeout", reason)
            _answer(pool, policy)
        todo.finish()
    finally:
        for simulator in pool:
            simulator.stop()


def _hand_out(
    todo: Todo,
    pool: list[Simulator],
    simulators: Simulators,
    workers: int,
    silence: float,
    scenes: int,
) -> None:
    """Give rows to idle simulators, and to new ones while there are places in the pool; of those
    that are built once, ``scenes`` tasks' at a time."""
    while todo:
        idle = next((simulator for simulator in pool if simulator.row is None), None)
        if idle is None and (len(pool) >= workers or _waiting(pool) >= WAITING):
            return
        playing = [simulator.row.task for simulator in pool if simulator.row is not None]
        full = simulators.built_once and len(set(playing)) >= scenes
        row = todo.take(None if idle is None else idle.task, playing, playing if full else None)
        if row is None:
            return
        if idle is not None and simulators.built_once and idle.task != row.task:
            # All of them, or a scene that nobody plays any more would be held for them.
            for other in [each for each in pool if each.row is None and each.task != row.task]:
                pool.remove(other)
                other.stop()
            idle = None
        if idle is None:
            taken = {simulator.number for simulator in pool}
            number = next(number for number in range(1, workers + 1) if number not in taken)
            idle = start(simulators, silence, number, row.task, scenes, playing)
            pool.append(idle)
        idle.play(row)


def _waiting(pool: list[Simulator]) -> int:
    return sum(not simulator.alive for simulator in pool)


def _hear(
    simulator: Simulator,
    todo: Todo,
    on_episode: Callable[[EpisodeRow, EpisodeRecord], None],
    on_film: Callable[[EpisodeRow, np.ndarray], None] | None,
) -> tuple[str, str] | None:
    """Take one message; status and reason if the simulator is of no use any more."""
    row = simulator.row
    assert row is not None
    try:
        kind, *message = simulator.hear()
    except (EOFError, ConnectionResetError):
        code = simulator.exit_code()
        return "error", f"the simulator process died (exit code {code}) {simulator.where()}"
    except BlockingIOError:
        return "timeout", f"it stopped in the middle of a message {simulator.where()}"
    if kind == "made":
        simulator.task = row.task
        todo.simulation_was_made()
    elif kind == "query":
        number, step, language, state, images, frames = message
        simulator.query = Query(row, number, step, language, state, images, frames, simulator.kept)
    elif kind == "done":
        record, film = message
        cpu = record.cpu_seconds + simulator.policy_cpu
        if film is not None and on_film is not None:
            on_film(row, film)
        on_episode(row, replace(record, cpu_seconds=cpu, policy_batch=simulator.policy_batch))
        simulator.row, simulator.kept = None, {}
    elif kind == "error":
        reason, mistake = message
        if mistake:
            raise UserError(reason)
        return "error", reason
    return None


def _answer(pool: list[Simulator], policy: Policy) -> None:
    """Answer the queries that have waited longest, as many as the policy takes together."""
    asking = [simulator for simulator in pool if simulator.query]
    asking.sort(key=lambda simulator: simulator.heard)
    batch = asking[: policy.largest_batch]
    if batch:
        answers = _answers(policy, [simulator.query for simulator in batch if simulator.query])
        for simulator, answer in zip(batch, answers, strict=True):
            simulator.answer(answer, len(batch))


def _answers(policy: Policy, queries: list[Query]) -> list[Answer]:
    """The policy's answers; where something of a query is not finite, that ends its episode, and
    the others are answered."""
    try:
        return policy.act(queries)
    except FloatingPointError as error:
        if len(queries) == 1:
            return [Answer(np.empty((0, 0)), 0.0, str(error))]
    return [answer for query in queries for answer in _answers(policy, [query])]


def _replace(
    simulator: Simulator, pool: list[Simulator], todo: Todo, status: str, reason: str
) -> None:
    """End a simulator, whose place becomes free, and see to its episode."""
    pool.remove(simulator)
    if status == "timeout":
        simulator.dump(reason)
    simulator.cannot_start(hangs=status == "timeout")
    simulator.stop()
    assert simulator.row is not None
    todo.failed(simulator.row, status, reason)
