"""Demonstrations by the scripted expert, written as a LeRobotDataset: parallel, resumable, exact.

    episodes, played in worker processes -> staging folder, one file each -> dataset, in a fixed order -> renamed into place

The expert is pushed off its way now and then, and its own action is recorded as the label, so that the data shows how
to come back. An episode depends on (task, initial state, seed, attempt) alone, so a run that was killed and started
again gives the dataset of an uninterrupted one, frame for frame.

Non-obvious: an episode is played twice, first without images. Only a success is played again, with the same actions,
and drawn; physics costs 7 ms a step and its two images 100 ms, so a failed attempt costs next to nothing.
"""

import dataclasses
import errno
import json
import multiprocessing
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wmvla.errors import UserError
from wmvla.recipe import Demonstrations, Environment

if TYPE_CHECKING:
    from wmvla.sim.libero.env import LiberoSimulation

ATTEMPTS = 8
"""Push seeds tried for one initial state before giving up."""
STEP_LIMIT = 240
"""Control steps the expert gets; it needs 100 to 170."""
STEPS_AFTER_SUCCESS = 10
"""Recorded past the first success, so that letting go and staying is shown too."""
PUSH_STEPS = 4
CLEAN_STEPS_BETWEEN_PUSHES = 12
PUSH_PROBABILITY = 0.15
"""Chance, at each step at which one may begin, that a push begins."""
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

    Features: ``observation.images.image`` and ``.image2`` (image_size, image_size, 3) uint8 images,
    ``observation.state`` (8,), ``action`` (7,), at 20 frames per second, with LIBERO's sentence as the task.
    ``progress(done, total)`` counts episodes. A finished folder is returned at once; a call that was killed is
    continued by the same call, which plays only the missing episodes.

    Raises ``UserError`` when the folder holds demonstrations of other settings, when the expert cannot solve an
    episode, or when the disk is full.
    """
    recipe = _recipe(environment, demonstrations)
    staging = folder.with_name(f"{folder.name}.staging")
    if folder.exists():
        _check_recipe(folder / MANIFEST, recipe)
        shutil.rmtree(staging, ignore_errors=True)
        return folder
    if not demonstrations.inits:
        raise UserError("demonstrations.inits is empty: name the initial states that the expert shall demonstrate.")
    try:
        staging.mkdir(parents=True, exist_ok=True)
        _check_recipe(staging / "recipe.json", recipe, write=True)
        _play_missing(environment, demonstrations, staging, workers, progress)
        _assemble(environment, demonstrations, staging, folder, recipe)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise UserError(f"The disk of {folder.parent} is full: free some space and give the same command again.") from error
    shutil.rmtree(staging)
    return folder


def episode_seed(demonstrations: Demonstrations, task: int, init: int) -> int:
    """Environment seed (32 bits) of one demonstrated episode."""
    return int(np.random.SeedSequence([demonstrations.seed, task, init]).generate_state(1)[0])


def _recipe(environment: Environment, demonstrations: Demonstrations) -> dict[str, Any]:
    """What decides the frames; ``max_steps`` is for policies, and the name of the dataset changes nothing."""
    recipe = {
        "environment": dataclasses.asdict(environment),
        "demonstrations": dataclasses.asdict(demonstrations),
    }
    del recipe["environment"]["max_steps"], recipe["demonstrations"]["repo_id"]
    return json.loads(json.dumps(recipe))


def _check_recipe(file: Path, recipe: dict[str, Any], *, write: bool = False) -> None:
    if write and not file.exists():
        _write_durably(file, json.dumps(recipe, indent=1).encode())
    found = json.loads(file.read_text())["recipe"] if file.name == MANIFEST.name else json.loads(file.read_text())
    if found != recipe:
        differing = sorted(
            f"{section}.{key}"
            for section in recipe
            for key in recipe[section]
            if found.get(section, {}).get(key) != recipe[section][key]
        )
        raise UserError(
            f"{file} records demonstrations of other settings ({', '.join(differing)}): delete the folder, "
            "or set demonstrations.repo_id to another name."
        )


# --- one episode, in a worker process ---------------------------------------------------------------------------------

_simulations: "dict[tuple[Environment, int], LiberoSimulation]" = {}
"""The worker's present task; building a scene costs as much as an episode."""


def _start_worker() -> None:
    """A worker must not outlive a killed parent: nobody would take its results, and it would hold a core."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def leave_with_parent() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=leave_with_parent, daemon=True).start()


def _record_episode(environment: Environment, demonstrations: Demonstrations, task: int, init: int, file: Path) -> None:
    from wmvla.sim.libero.env import LiberoSimulation

    simulation = _simulations.get((environment, task))
    if simulation is None:
        for other in _simulations.values():
            other.close()
        _simulations.clear()
        simulation = _simulations[environment, task] = LiberoSimulation(environment, task)
    attempts = ATTEMPTS if demonstrations.push_strength > 0 else 1
    for attempt in range(attempts):
        played = _play(simulation, demonstrations, task, init, attempt)
        if played is not None:
            break
    else:
        raise UserError(
            f"The expert did not solve {environment.suite} task {task} from initial state {init} in {attempts} "
            "attempts: leave it out of demonstrations.inits."
        )
    states, labels, executed = played
    images = _draw(simulation, init, episode_seed(demonstrations, task, init), states, executed)
    arrays = {"state": states, "action": labels, "attempt": np.array(attempt), **images}
    temporary = file.with_name(f"{file.name}.{os.getpid()}")
    with temporary.open("wb") as stream:
        np.savez(stream, **arrays)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(file)


def _play(
    simulation: "LiberoSimulation", demonstrations: Demonstrations, task: int, init: int, attempt: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """States (T, 8), the expert's actions (T, 7) and the pushed actions played (T, 7); ``None`` for a failure."""
    from wmvla.sim.libero.cameras import NONE
    from wmvla.sim.libero.expert import PickAndPlace

    observation = simulation.reset(init, episode_seed(demonstrations, task, init), NONE)
    expert = PickAndPlace(simulation)
    generator = np.random.default_rng([demonstrations.seed, task, init, attempt])
    push, push_steps_left, clean_steps = np.zeros(3), 0, 0
    states, labels, executed = [], [], []
    succeeded_at: int | None = None
    for step in range(STEP_LIMIT):
        label = expert.action()
        if push_steps_left == 0:
            clean_steps += 1
            may_begin = clean_steps > CLEAN_STEPS_BETWEEN_PUSHES and expert.may_be_pushed and succeeded_at is None
            if may_begin and generator.random() < PUSH_PROBABILITY:
                direction = generator.normal(size=3)
                strength = demonstrations.push_strength * generator.uniform(0.5, 1.0)
                push = strength * direction / np.linalg.norm(direction)
                push_steps_left, clean_steps = PUSH_STEPS, 0
        action = label.copy()
        if push_steps_left > 0:
            action[:3] += push * (0.5 if expert.near_object else 1.0)
            push_steps_left -= 1
        states.append(observation.state)
        labels.append(label)
        executed.append(action)
        result = simulation.step(action, NONE)
        observation = result.observation
        if result.success and succeeded_at is None:
            succeeded_at = step
        if succeeded_at is not None and step == succeeded_at + STEPS_AFTER_SUCCESS:
            return np.stack(states), np.stack(labels), np.stack(executed)
    return None


def _draw(
    simulation: "LiberoSimulation", init: int, env_seed: int, states: np.ndarray, executed: np.ndarray
) -> dict[str, np.ndarray]:
    """Play the actions again with all cameras: per camera the images (T, H, W, 3) of the recorded states."""
    from wmvla.sim.libero.cameras import ALL, NONE

    frames: dict[str, list[np.ndarray]] = {name: [] for name in simulation.cameras}
    observation = simulation.reset(init, env_seed, ALL)
    for step, action in enumerate(executed):
        assert np.array_equal(observation.state, states[step]), "an episode played again took another course"
        for name in simulation.cameras:
            frames[name].append(observation.images[name])
        observation = simulation.step(action, ALL if step + 1 < len(executed) else NONE).observation
    return {name: np.stack(images) for name, images in frames.items()}


# --- all episodes, and the dataset made of them -----------------------------------------------------------------------


def _episode_files(environment: Environment, demonstrations: Demonstrations, staging: Path) -> dict[Path, tuple[int, int]]:
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
        _one_thread_per_process(),
        ProcessPoolExecutor(
            max_workers=min(workers, len(missing)),
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_worker,
        ) as pool,
    ):
        futures = [
            pool.submit(_record_episode, environment, demonstrations, task, init, file)
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


def _assemble(
    environment: Environment,
    demonstrations: Demonstrations,
    staging: Path,
    folder: Path,
    recipe: dict[str, Any],
) -> None:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    from wmvla.sim.libero.env import ACTION_DIM, CONTROL_FREQUENCY, STATE_DIM, task_language

    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    size = environment.image_size
    image = {"dtype": "image", "shape": (size, size, 3), "names": ["height", "width", "channels"]}
    dataset = LeRobotDataset.create(
        demonstrations.repo_id,
        CONTROL_FREQUENCY,
        {
            "observation.images.image": image,
            "observation.images.image2": image,
            "observation.state": {"dtype": "float32", "shape": (STATE_DIM,), "names": None},
            "action": {"dtype": "float32", "shape": (ACTION_DIM,), "names": None},
        },
        root=partial,
        robot_type="panda",
        use_videos=False,
    )
    episodes = []
    for file, (task, init) in _episode_files(environment, demonstrations, staging).items():
        language = task_language(environment.suite, task)
        with np.load(file) as arrays:
            state, action, attempt = arrays["state"], arrays["action"], int(arrays["attempt"])
            front, wrist = arrays["image"], arrays["image2"]
        for t in range(len(action)):
            dataset.add_frame(
                {
                    "observation.images.image": front[t],
                    "observation.images.image2": wrist[t],
                    "observation.state": state[t],
                    "action": action[t],
                    "task": language,
                }
            )
        dataset.save_episode()
        episodes.append({"task": task, "init": init, "frames": len(action), "attempt": attempt})
    dataset.finalize()
    shutil.rmtree(partial / "images", ignore_errors=True)
    _write_durably(partial / MANIFEST, json.dumps({"recipe": recipe, "episodes": episodes}, indent=1).encode())
    partial.replace(folder)


@contextmanager
def _one_thread_per_process() -> Iterator[None]:
    """Children inherit the environment; two OpenMP threads on each of two busy cores only cost time."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before


def _write_durably(file: Path, content: bytes) -> None:
    temporary = file.with_name(f"{file.name}.{os.getpid()}")
    with temporary.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(file)
