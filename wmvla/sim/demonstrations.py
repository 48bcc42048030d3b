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
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np

from wmvla.errors import UserError, disk_errors_are_user_errors
from wmvla.files import rename_durably, write_file, write_json
from wmvla.processes import one_thread_per_process
from wmvla.recipe import Demonstrations, Environment
from wmvla.sim.observation import Simulation
from wmvla.sim.suites import make_simulation, prepare, record, robot, sentence

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
    missing = {file: job for file, job in files.items() if not file.exists()}
    done = len(files) - len(missing)
    if progress is not None:
        progress(done, len(files))
    if not missing:
        return
    with (
        one_thread_per_process(),
        ProcessPoolExecutor(
            max_workers=min(workers, len(missing)),
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_worker,
        ) as pool,
    ):
        futures = [
            pool.submit(record_episode, environment, demonstrations, task, init, file)
            for file, (task, init) in missing.items()
        ]
        try:
            for future in as_completed(futures):
                future.result()
                done += 1
                if progress is not None:
                    progress(done, len(files))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


_simulations: dict[tuple[Environment, int], Simulation] = {}
"""The worker's present task; building a scene costs as much as half an episode."""


def _start_worker() -> None:
    """A worker must not outlive a killed parent: nobody would take its results."""
    # The parent stops the work; an episode in flight is finished.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def leave_with_parent() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=leave_with_parent, daemon=True).start()


def record_episode(
    environment: Environment, demonstrations: Demonstrations, task: int, init: int, file: Path
) -> None:
    """Play one episode until the expert succeeds, draw it, and write it to ``file`` durably and at
    once. UserError: the expert cannot solve it."""
    simulation = _simulations.get((environment, task))
    if simulation is None:
        for other in _simulations.values():
            other.close()
        _simulations.clear()
        simulation = _simulations[environment, task] = make_simulation(environment, task)
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
