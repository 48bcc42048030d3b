"""A simulator process: plays the episodes it is sent and asks for actions when it has none left."""

import contextlib
import signal
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from wmvla.errors import UserError
from wmvla.processes import die_with_parent, leave_with_starter, print_to
from wmvla.recipe import Environment, EpisodeRow
from wmvla.rollout.episode import EpisodeRecord
from wmvla.watch.phase import phase, share, text_in
from wmvla.watch.stacks import dump_on_request


@dataclass(frozen=True)
class Simulators:
    """How a worker plays.

    ``world_frames``: consecutive frames of each of ``world_cameras`` that a query must carry, 0 for
    none. ``make``: ``(environment, task) -> simulation``; a module-level function, so that a fresh
    process can find it. ``film``: the first camera (front) is drawn at every step, and its frames
    are sent along at the end. ``logs``: what the simulators print goes to
    ``<logs>.simulator-<number>.log``; None: where this process prints.
    """

    environment: Environment
    world_frames: int
    world_cameras: tuple[str, ...]
    make: Callable[[Environment, int], Any]
    film: bool = False
    logs: Path | None = None
    built_once: bool = False

    def log(self, number: int) -> Path | None:
        """Where simulator ``number`` prints to."""
        return self.logs and self.logs.with_name(f"{self.logs.name}.simulator-{number}.log")

    def log_of_scene(self, task: int) -> Path | None:
        """Where the process that makes a task's simulation prints to."""
        return self.logs and self.logs.with_name(f"{self.logs.name}.simulator-of-task-{task}.log")


def serve_forked(
    simulation: Any, simulators: Simulators, task: int, log: Path | None, connection: int, file: int
) -> None:
    """``serve`` in a process that was forked after its simulation was made, or could not be."""
    serve(Connection(connection), simulators, log, text_in(file), {task: simulation})


def serve(
    connection: Connection,
    simulators: Simulators,
    log: Path | None,
    shared_phase: Any,
    simulations: dict[int, Any] | None = None,
) -> None:
    """Play rows from ``connection`` until it closes; print to ``log``; share the current phase.
    ``simulations``: made already, by task; an exception where that failed.

    Messages out: ``("alive",)`` once, ``("made",)`` for every simulation, ``("query", number, step,
    language, state, images, frames)``, ``("done", EpisodeRecord, film)`` and, as the last,
    ``("error", text, whether a UserError)``. Messages in: an ``EpisodeRow``, then the actions (n,
    A) that answer each query, or why there are none.
    """
    if simulations is None:
        die_with_parent()
    leave_with_starter()
    if log is not None:
        print_to(log)
    dump_on_request()
    shared_phase.value = b""
    share(shared_phase)
    # A terminal's Ctrl-C is for the engine, which ends its simulators.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(EOFError, ConnectionError):  # the engine has ended
        connection.send(("alive",))
        simulations, made = simulations or {}, None
        while True:
            row = connection.recv()
            try:
                if row.task not in simulations:
                    with phase("close"):
                        for old in simulations.values():
                            old.close()
                    with phase("make"):
                        simulations = {row.task: simulators.make(simulators.environment, row.task)}
                simulation = simulations[row.task]
                if isinstance(simulation, Exception):
                    raise simulation
                if made != row.task:
                    connection.send(("made",))
                    made = row.task
                record, film = play(row, simulation, simulators, connection)
            except (EOFError, ConnectionError):
                raise
            except Exception as error:
                mistake = isinstance(error, UserError)
                if log is not None:
                    traceback.print_exc()
                connection.send(("error", str(error) if mistake else _one_line(error), mistake))
                return
            connection.send(("done", record, film))


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def play(
    row: EpisodeRow, simulation: Any, simulators: Simulators, connection: Connection
) -> tuple[EpisodeRecord, np.ndarray | None]:
    """One episode, from reset to success or the last control step: record, and film if wanted."""
    environment, front = simulators.environment, simulation.cameras[0]
    began, cpu, drawn = time.monotonic(), time.process_time(), simulation.renders
    everything, world = frozenset(simulation.cameras), frozenset(simulators.world_cameras)
    always = frozenset({front}) if simulators.film else frozenset[str]()
    with phase("reset"):
        observation = simulation.reset(row.init, row.env_seed, everything)
    scene = simulation.scene_hash()
    film = [observation.images[front]]
    frames: deque[list[np.ndarray]] = deque(maxlen=simulators.world_frames)
    drawn_now = [observation.images[camera] for camera in simulators.world_cameras]
    frames.extend([drawn_now] * simulators.world_frames)
    step, queries, success = 0, 0, False
    fault = _not_finite(observation.state, "the state after the reset")
    while step < environment.max_steps and not success and fault is None:
        history = (
            np.stack([np.stack(camera) for camera in zip(*frames, strict=True)]) if frames else None
        )
        connection.send(
            (
                "query",
                queries,
                step,
                simulation.language,
                observation.state,
                observation.images,
                history,
            )
        )
        actions = connection.recv()
        queries += 1
        if isinstance(actions, str):
            fault = f"at step {step}: {actions}"
            break
        for number, action in enumerate(actions[: environment.max_steps - step]):
            # The next query reads both cameras at its step, and world cameras over its history.
            before_query = len(actions) - 1 - number
            if step + before_query + 1 >= environment.max_steps:
                want = frozenset[str]()
            elif before_query == 0:
                want = everything
            else:
                want = world if before_query < simulators.world_frames else frozenset()
            if fault := _not_finite(action, f"the action of step {step + 1}"):
                break
            step += 1
            with phase(f"step {step}"):
                result = simulation.step(action, want | always)
            observation, success = result.observation, result.success
            fault = _not_finite(observation.state, f"the state after step {step}")
            if simulators.film:
                film.append(observation.images[front])
            if world <= want:
                frames.append([observation.images[camera] for camera in simulators.world_cameras])
            if success or fault:
                break
    record = EpisodeRecord(
        success=success and fault is None,
        steps=step,
        status="ok" if fault is None else "error",
        error=fault,
        seconds=time.monotonic() - began,
        cpu_seconds=time.process_time() - cpu,
        scene_hash=scene,
        queries=queries,
        renders=simulation.renders - drawn,
        reset="cheap" if simulation.resets_are_cheap else "hard",
        policy_batch=0,
    )
    return record, np.stack(film) if simulators.film and fault is None else None


def _not_finite(numbers: np.ndarray, what: str) -> str | None:
    """A sentence where one of them is not finite: MuJoCo takes such an action for zeros, and the
    episode would count as an ordinary failure."""
    for place in np.flatnonzero(~np.isfinite(numbers)):
        return f"{what} is not finite (number {place} is {numbers[place]})"
    return None
