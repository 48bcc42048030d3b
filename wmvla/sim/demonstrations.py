"""Demonstrations by the scripted expert, written as a LeRobotDataset: parallel, resumable, exact.

    episodes, played by worker processes -> staging folder, one file each -> dataset, in fixed order
    -> renamed into place

An episode depends on (seed, task, initial state) alone, so a run that was killed and started again
gives the dataset of an uninterrupted one, frame for frame.
"""

import dataclasses
import importlib.metadata
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any

import numpy as np

from wmvla.errors import UserError, disk_errors_are_user_errors
from wmvla.files import rename_durably, write_file, write_json
from wmvla.forks import Fork
from wmvla.processes import leave_with_starter
from wmvla.recipe import Demonstrations, Environment
from wmvla.sim.suites import can_be_forked, make_simulation, prepare, record, robot, sentence
from wmvla.sim.templates import template_of

FRAMES_PER_SECOND = 20
"""LIBERO's control steps a second; the control scenes, which have no clock, keep to it."""
MANIFEST = Path("meta") / "expert.json"

Progress = Callable[[int, int], None]


def make_demonstrations(
    environment: Environment,
    demonstrations: Demonstrations,
    folder: Path,
    *,
    workers: int,
    progress: Progress | None = None,
) -> Path:
    """Write the LeRobotDataset of every task and initial state to ``folder`` and return ``folder``.

    Features: ``observation.images.<camera>`` (image_size, image_size, 3) uint8 images of every
    camera of the simulation, ``observation.state`` and ``action``, at 20 frames per second, with
    the task's instruction. ``meta/expert.json`` keeps the settings and, per episode, task, initial
    state, frames and attempt. ``progress(done, total)`` counts episodes. A finished folder is
    returned at once; a call that was killed is continued by the same call, which plays only the
    missing episodes.

    Raises ``UserError`` when the folder holds demonstrations of other settings, when the expert
    cannot solve an episode, or when the disk is full.
    """
    prepare(environment)
    recipe = _recipe(environment, demonstrations)
    staging = folder.with_name(f"{folder.name}.staging")
    if folder.exists():
        if not (folder / MANIFEST).exists():
            raise UserError(
                f"{folder} exists already and was not made by the expert ({MANIFEST} is missing): "
                "move it, or give demonstrations.repo_id another name."
            )
        _check_recipe(folder, json.loads((folder / MANIFEST).read_text())["recipe"], recipe)
        shutil.rmtree(staging, ignore_errors=True)
        return folder
    if not demonstrations.inits:
        raise UserError(
            "demonstrations.inits is empty: give the initial states for the expert to play."
        )
    with disk_errors_are_user_errors():
        staging.mkdir(parents=True, exist_ok=True)
        staged_recipe = staging / "recipe.json"
        if not staged_recipe.exists():
            write_json(staged_recipe, recipe)
        _check_recipe(staging, json.loads(staged_recipe.read_text()), recipe)
        _play_missing(environment, demonstrations, staging, workers, progress)
        _assemble(environment, demonstrations, staging, folder, recipe)
    shutil.rmtree(staging)
    return folder


def _recipe(environment: Environment, demonstrations: Demonstrations) -> dict[str, dict[str, Any]]:
    """All that decides the frames: not ``max_steps``, the dataset's name, nor what is held out."""
    recipe = {
        "environment": dataclasses.asdict(environment),
        "demonstrations": dataclasses.asdict(demonstrations),
        "simulator": {
            "mujoco": importlib.metadata.version("mujoco"),
            "MUJOCO_GL": os.environ["MUJOCO_GL"],
        },
    }
    del recipe["environment"]["max_steps"]
    del recipe["demonstrations"]["repo_id"], recipe["demonstrations"]["held_out"]
    return json.loads(json.dumps(recipe))


def _check_recipe(
    folder: Path, found: dict[str, dict[str, Any]], recipe: dict[str, dict[str, Any]]
) -> None:
    differing = [
        f"{section}.{key}"
        for section, values in recipe.items()
        for key, value in values.items()
        if section not in found or found[section].get(key) != value
    ]
    if differing:
        raise UserError(
            f"{folder} holds demonstrations of other settings ({', '.join(differing)}): "
            "delete it, or give demonstrations.repo_id another name."
        )


def _episode_files(
    environment: Environment, demonstrations: Demonstrations, staging: Path
) -> dict[Path, tuple[int, int]]:
    """The staged file of each (task, init), in the dataset's order."""
    return {
        staging / f"task{task:03d}-init{init:03d}.npz": (task, init)
        for task in environment.tasks
        for init in demonstrations.inits
    }


def _play_missing(
    environment: Environment,
    demonstrations: Demonstrations,
    staging: Path,
    workers: int,
    progress: Progress | None,
) -> None:
    files = _episode_files(environment, demonstrations, staging)
    missing = [job for job in files.items() if not job[0].exists()]
    done = len(files) - len(missing)
    if progress is not None:
        progress(done, len(files))
    for task in environment.tasks:
        jobs = [(file, init) for file, (of, init) in missing if of == task]
        for _ in _played(environment, demonstrations, task, jobs, workers):
            done += 1
            if progress is not None:
                progress(done, len(files))


def _played(
    environment: Environment,
    demonstrations: Demonstrations,
    task: int,
    jobs: list[tuple[Path, int]],
    workers: int,
) -> Iterator[None]:
    """Play a task's episodes in processes forked from the one with its scene, one process for each;
    yields after each episode. Where a scene cannot be forked, each process makes its own, and plays
    as many as it gets."""
    together = can_be_forked()
    make = make_simulation if together else make_later
    parts = [[job] for job in jobs] if together else [jobs[i::workers] for i in range(workers)]
    waiting, running = [part for part in parts if part], dict[Connection, Fork]()
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                ours, theirs = Pipe(duplex=False)
                fork = template_of(make, environment, task).fork(
                    _record_all,
                    (environment, demonstrations, task, waiting.pop(0)),
                    (theirs.fileno(),),
                )
                theirs.close()
                running[ours] = fork
            for connection in wait(list(running)):
                assert isinstance(connection, Connection)
                try:
                    if (error := connection.recv()) is not None:
                        raise error
                    yield
                except EOFError:
                    _see_end(running.pop(connection), task)
                    connection.close()
    finally:
        for fork in running.values():
            fork.kill()


def _see_end(fork: Fork, task: int) -> None:
    fork.join()
    if fork.exitcode:
        raise RuntimeError(
            f"a process that played demonstrations of task {task} died (exit code {fork.exitcode})"
        )


def make_later(environment: Environment, task: int) -> None:
    """What a process holds whose scene cannot be forked."""


def _record_all(
    simulation: Any,
    environment: Environment,
    demonstrations: Demonstrations,
    task: int,
    jobs: list[tuple[Path, int]],
    descriptor: int,
) -> None:
    """Play episodes and write each to its file; send None after each, or why there is none."""
    leave_with_starter()
    connection = Connection(descriptor)
    try:
        if isinstance(simulation, Exception):
            raise simulation
        simulation = simulation or make_simulation(environment, task)
        for file, init in jobs:
            record_episode(environment, simulation, demonstrations, init, file)
            connection.send(None)
    except Exception as error:
        connection.send(
            error
            if isinstance(error, UserError)
            else RuntimeError(f"{type(error).__name__}: {error}")
        )


def record_episode(
    environment: Environment, simulation: Any, demonstrations: Demonstrations, init: int, file: Path
) -> None:
    """Play one episode until the expert succeeds, draw it, and write it to ``file`` durably and at
    once. UserError: the expert cannot solve it."""
    arrays = record(environment, simulation, demonstrations, init)
    packed = io.BytesIO()
    np.savez(packed, **arrays)
    write_file(file, packed.getvalue())


def _assemble(
    environment: Environment,
    demonstrations: Demonstrations,
    staging: Path,
    folder: Path,
    recipe: dict[str, dict[str, Any]],
) -> None:
    from datasets import disable_progress_bars
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    disable_progress_bars()  # One bar for every episode would bury our own progress.
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    files = _episode_files(environment, demonstrations, staging)
    with np.load(next(iter(files))) as first:
        cameras = sorted(set(first.files) - {"state", "action", "attempt"})
        images = {
            f"observation.images.{name}": {
                "dtype": "image",
                "shape": first[name].shape[1:],
                "names": ["height", "width", "channels"],
            }
            for name in cameras
        }
        numbers = {
            key: {"dtype": "float32", "shape": first[name].shape[1:], "names": None}
            for key, name in (("observation.state", "state"), ("action", "action"))
        }
    dataset = LeRobotDataset.create(
        demonstrations.repo_id,
        FRAMES_PER_SECOND,
        {**images, **numbers},
        root=partial,
        robot_type=robot(environment),
        use_videos=False,
    )
    sentences = {task: sentence(environment, task) for task in environment.tasks}
    episodes = []
    for file, (task, init) in files.items():
        with np.load(file) as staged:
            episode = dict(staged)
        frames = len(episode["action"])
        for t in range(frames):
            dataset.add_frame(
                {
                    **{f"observation.images.{name}": episode[name][t] for name in cameras},
                    "observation.state": episode["state"][t],
                    "action": episode["action"][t],
                    "task": sentences[task],
                }
            )
        dataset.save_episode()
        episodes.append(
            {"task": task, "init": init, "frames": frames, "attempt": int(episode["attempt"])}
        )
    dataset.finalize()
    # Single images, by now inside the parquet file.
    shutil.rmtree(partial / "images", ignore_errors=True)
    write_json(partial / MANIFEST, {"recipe": recipe, "episodes": episodes})
    rename_durably(partial, folder)
