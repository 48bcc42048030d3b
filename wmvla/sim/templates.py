"""Scenes that are built once, in a process of their own, and played in processes forked from it.

A LIBERO scene takes seconds to build and 2 GB to hold; a process that is forked afterwards begins
in milliseconds, draws the same pixels, and has 60 to 100 MB of its own.
"""

import os
from collections.abc import Callable, Collection
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext, SpawnContext
from pathlib import Path
from typing import Any

from wmvla.forks import Template
from wmvla.processes import print_to
from wmvla.recipe import Environment
from wmvla.resources import usable_memory
from wmvla.sim.suites import simulator_bytes
from wmvla.watch.phase import phase

Make = Callable[[Environment, int], Any]
"""``(environment, task) -> simulation``."""

_kept: dict[tuple[Make, Environment, int, str], Template] = {}
"""Those of the environment that was played last, oldest use first."""


def template_of(
    make: Make,
    environment: Environment,
    task: int,
    log: Path | None = None,
    at_most: int = 1,
    playing: Collection[int] = (),
) -> Template:
    """The process that has the scene, started if there is none; it prints to ``log``.

    Others are ended if they are of another environment and idle, or, in the order of their last
    use, if there are ``at_most``, but for those of the tasks ``playing``.
    """
    key = make, environment, task, _rendering()
    template = _kept.pop(key, None)
    if template is None or not template.is_alive():
        for other in [other for other in _kept if other[:2] != key[:2] and _kept[other].is_idle()]:
            _kept.pop(other).kill()
        unused = [other for other in _kept if other[2] not in playing and _kept[other].is_idle()]
        for other in unused[: max(0, len(_kept) + 1 - at_most)]:
            _kept.pop(other).kill()
        template = Template(context(), build, (make, environment, task, log))
    _kept[key] = template
    return template


def forget(template: Template, kill: bool = False) -> None:
    """Build the scene anew when it is next wanted. ``kill`` the process if it hangs."""
    for key in [key for key, kept in _kept.items() if kept is template]:
        del _kept[key]
        if kill:
            template.kill()
        else:
            template.retire()


def scenes_that_fit(environment: Environment, workers: int) -> int:
    """How many scenes of the environment can be held at once beside that many processes."""
    scene, each = simulator_bytes(environment)
    kept = sum(key[1] == environment for key in _kept)
    return max(1, kept + (usable_memory() - workers * each) // scene)


def build(make: Make, environment: Environment, task: int, log: Path | None) -> Any:
    """The simulation, or the exception that making it raised, for the one who wants to play it."""
    if log is not None:
        print_to(log)
    try:
        with phase("make"):
            return make(environment, task)
    except Exception as error:
        return error
    finally:
        if log is not None and not log.stat().st_size:
            log.unlink()


def _rendering() -> str:
    return os.environ.get("MUJOCO_GL", "osmesa")


_rendering_of_server: list[str] = []
"""MUJOCO_GL when this process first asked for its fork server."""


def context() -> ForkServerContext | SpawnContext:
    """How processes that simulate are started: forked from a server that has imported what they
    need.

    Non-obvious: they are not forked from this process, whose torch has threads and perhaps a GPU.
    There is one fork server for the life of this process, with the environment of its start; under
    another renderer new processes are spawned.
    """
    rendering = _rendering()
    if not _rendering_of_server:
        _rendering_of_server.append(rendering)
    if _rendering_of_server != [rendering]:
        return get_context("spawn")
    server = get_context("forkserver")
    server.set_forkserver_preload(["wmvla.sim.preload"])
    return server
