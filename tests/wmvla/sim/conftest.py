"""Real LIBERO scenes, each built once per test session: building one costs 8 CPU seconds.

Several are open at once on purpose: each must draw with its own renderer.
"""

from collections.abc import Callable, Iterator
from functools import cache

import pytest

from wmvla.recipe import Environment
from wmvla.sim.libero.env import LiberoSimulation

OpenSimulation = Callable[[str, int], LiberoSimulation]


@pytest.fixture(scope="session")
def open_simulation() -> Iterator[OpenSimulation]:
    opened = []

    @cache
    def open_(suite: str, task: int) -> LiberoSimulation:
        opened.append(
            LiberoSimulation(Environment(suite, (task,), image_size=64, max_steps=200), task)
        )
        return opened[-1]

    yield open_
    for simulation in opened:
        simulation.close()
