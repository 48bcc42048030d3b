"""Whether a dataset that is to be trained on has LIBERO's gripper, and its images LIBERO's way up.

What cannot be seen: a dataset whose gripper is turned round from its first frame on, where hands
begin closed; images that are mirrored, for many scenes are nearly their own mirror image.
"""

import multiprocessing
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from lerobot.datasets import LeRobotDataset
from PIL import Image

from wmvla.data.cameras import camera_keys
from wmvla.data.images import StoredImages
from wmvla.data.rows import Rows
from wmvla.errors import UserError
from wmvla.recipe import Environment
from wmvla.rollout.conventions import GRIPPER, gripper_of_0_and_1
from wmvla.sim.suites import make_simulation, prepare, sentence

SIZE = 16
"""Images are compared at so many pixels a side: objects move, tables and arms stay."""
EPISODES = 8
"""First frames of the task that are looked at, at most."""
NEARER = 2.0
"""A turned image that is so many times nearer than it is as it is, is the right way up; see
``turns``."""


def refuse_other_gripper(dataset: LeRobotDataset, rows: Rows) -> None:
    """UserError where the gripper is 0 or 1, or closes in the first frames of most episodes: a hand
    that holds nothing yet is opened, which in LIBERO is -1, as it is in all of its demonstrations.
    """
    statistics = (dataset.meta.stats or {}).get("action", {})
    if said := gripper_of_0_and_1(statistics):
        raise UserError(
            f"dataset {dataset.repo_id}: action {GRIPPER}, the gripper, goes from 0 to 1 ({said}),"
            " but LIBERO's opens at -1 and closes at 1: convert the actions and their statistics."
        )
    first = rows.action[[0, *rows.ends[:-1]], GRIPPER]
    closing = int((first > 0).sum())
    if closing * 2 > len(first):
        raise UserError(
            f"dataset {dataset.repo_id}: action {GRIPPER}, the gripper, is positive in the first"
            f" frame of {closing} of {len(first)} episodes, which closes LIBERO's hand before it"
            " holds anything: turn its sign, and that of its statistics."
        )


def refuse_turned_images(
    dataset: LeRobotDataset, rows: Rows, environment: Environment, init: int, env_seed: int
) -> dict[str, dict[str, float]]:
    """Compare the first frame of the environment's first task, drawn here, with the dataset's first
    frames of that task.

    Returns:
        per camera the figures of ``turns``.

    Raises:
        UserError: an image stands upside down in the dataset, or cannot be read.
    """
    task = environment.tasks[0]
    wanted = sentence(environment, task)
    starts = [row for row in (0, *rows.ends[:-1]) if rows.task[row] == wanted][:EPISODES]
    keys = camera_keys(dataset.meta)
    read = StoredImages(dataset, keys, rows.ends).read(np.array(starts))
    stored = {
        key.rpartition(".")[2]: images.numpy().transpose(0, 2, 3, 1)
        for key, images in zip(keys, read, strict=True)
    }
    figures = {}
    for camera, image in drawn_first(environment, task, init, env_seed).items():
        figures[camera] = found = turns(image, stored[camera])
        way, least = min(found.items(), key=lambda item: item[1])
        if way != "as it is" and NEARER * least < found["as it is"]:
            raise UserError(
                f"dataset {dataset.repo_id}: the images of {camera} are LIBERO's {way}: the first"
                f" frames of '{wanted}' differ by {least:.1f} of 255 {way}, and by"
                f" {found['as it is']:.1f} as they are; LeRobot's LIBERO shows them turned by 180"
                " degrees from MuJoCo's: turn the dataset's."
            )
    return figures


def turns(image: np.ndarray, stored: np.ndarray) -> dict[str, float]:
    """Mean absolute difference, of 255, of an image (H, W, 3) and the nearest of ``stored`` (N, H,
    W, 3), as they are, and with the image turned by 180 degrees and put upside down.

    Measured, first frames of 13 tasks of five suites against two others of the same task, at 16
    pixels: as it is 0.8 to 6.6 (front) and 3.9 to 14.8 (wrist), turned by 180 degrees 30 to 113 and
    14.4 to 74, upside down 27 to 88 and 13.7 to 72; of one camera of one task at least 3.1 times
    as much.
    """
    small, others = _small(image), [_small(one) for one in stored]
    ways = {
        "as it is": small,
        "turned by 180 degrees": small[::-1, ::-1],
        "upside down": small[::-1],
    }
    return {
        way: round(min(float(np.abs(one - other).mean()) for other in others), 2)
        for way, one in ways.items()
    }


def drawn_first(
    environment: Environment, task: int, init: int, env_seed: int
) -> Mapping[str, np.ndarray]:
    """The first image of each camera (H, W, 3), drawn in a process of its own: a simulator takes
    gigabytes, and a broken driver takes its process down."""
    prepare(environment)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(_draw, environment, task, init, env_seed).result()


def _draw(environment: Environment, task: int, init: int, env_seed: int) -> dict[str, np.ndarray]:
    simulation = make_simulation(environment, task)
    try:
        return simulation.reset(init, env_seed, frozenset(simulation.cameras)).images
    finally:
        simulation.close()


def _small(image: np.ndarray) -> np.ndarray:
    pixels = Image.fromarray(image).resize((SIZE, SIZE), Image.Resampling.BOX)
    return np.asarray(pixels, np.float64)
