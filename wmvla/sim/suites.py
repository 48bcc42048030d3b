"""What belongs to an environment's suite: LIBERO's, or one of our own control scenes.

Imports happen inside the functions: what plays one of the two never loads the other.
"""

import os
from typing import Any

from wmvla.recipe import Demonstrations, Environment
from wmvla.resources import CONTROL_SIMULATOR_BYTES, FORKED_SIMULATOR_BYTES, SIMULATOR_BYTES
from wmvla.sim.control.scenes import LANGUAGE, PREFIX
from wmvla.sim.observation import Simulation


def is_control(environment: Environment) -> bool:
    """Whether the environment is one of our own control scenes; all others are LIBERO's."""
    return environment.suite.startswith(PREFIX)


def can_be_forked() -> bool:
    """Whether a scene that was built may be forked: Mesa draws in memory, a GPU elsewhere."""
    return os.environ.get("MUJOCO_GL", "osmesa") == "osmesa"


def simulator_bytes(environment: Environment) -> tuple[int, int]:
    """Memory that a task's simulator processes share, and that each has beside it."""
    scene = CONTROL_SIMULATOR_BYTES if is_control(environment) else SIMULATOR_BYTES
    return (scene, FORKED_SIMULATOR_BYTES) if can_be_forked() else (0, scene)


def prepare(environment: Environment) -> None:
    """Choose the renderer and make the simulator importable. UserError if something is missing."""
    if is_control(environment):
        from wmvla.sim.renderer import choose_renderer

        choose_renderer()
    else:
        from wmvla.sim.libero.assets import prepare_libero

        prepare_libero()


def make_simulation(environment: Environment, task: int) -> Simulation:
    """Task ``task`` of the environment's suite. ``UserError`` for an unknown suite or task."""
    if is_control(environment):
        from wmvla.sim.control.env import ControlSimulation

        return ControlSimulation(environment, task)
    from wmvla.sim.libero.env import LiberoSimulation

    return LiberoSimulation(environment, task)


def record(
    environment: Environment, simulation: Any, demonstrations: Demonstrations, init: int
) -> dict[str, Any]:
    """The scripted expert's episode: ``state`` (T, S), ``action`` (T, A), ``attempt`` and, per
    camera, images (T, H, W, 3). UserError: the expert cannot solve it."""
    if is_control(environment):
        from wmvla.sim.control.recording import record as record_control

        return record_control(simulation, demonstrations, init)
    from wmvla.sim.libero.recording import record as record_libero

    return record_libero(simulation, demonstrations, init)


def robot(environment: Environment) -> str:
    """The robot's name in a dataset."""
    return "paddle" if is_control(environment) else "panda"


def sentence(environment: Environment, task: int) -> str:
    """The instruction of a task."""
    if is_control(environment):
        return LANGUAGE
    from wmvla.sim.libero.env import load_suite

    return str(load_suite(environment.suite).get_task(task).language)


def known_sentences(environment: Environment) -> list[str]:
    """Every instruction of the environment's simulator, sorted, each once, for a tokenizer."""
    if is_control(environment):
        return [LANGUAGE]
    from wmvla.sim.libero.language import task_sentences

    return task_sentences()
