"""The engine's own cost: steps of a known time, and a policy that costs nothing.

Efficiency is that of two simulator processes against one: seconds of one / (2 x seconds of two).
The overhead is CPU seconds of the engine's process, starts of the simulators included, over all
environment steps: what 64 environments ask of one core.
"""

import time
from collections.abc import Sequence
from typing import Any

import known_cost
import numpy as np
import pytest
from clocks import take_turns

from wmvla.recipe import Environment, EpisodeRow
from wmvla.rollout.engine import roll_out
from wmvla.rollout.episode import Answer, EpisodeRecord, Query
from wmvla.rollout.worker import Simulators

CHUNK, STEPS = 10, 100
LEAST_EFFICIENCY = 0.9
MOST_OVERHEAD = 1e-3
"""CPU seconds for each environment step. Both bounds are issue 4's."""


class FreePolicy:
    def __init__(self, largest_batch: int) -> None:
        self.largest_batch = largest_batch

    def act(self, queries: Sequence[Query]) -> list[Answer]:
        return [Answer(np.zeros((CHUNK, 7), np.float32), 0.0) for _ in queries]


def play(episodes: int, workers: int, make: Any, world_frames: int = 0) -> tuple[float, float]:
    """Seconds, and CPU seconds of this process, of so many episodes of ``STEPS`` steps."""
    environment = Environment(suite="fake", tasks=(0,), image_size=known_cost.SIZE, max_steps=STEPS)
    simulators = Simulators(environment, world_frames, ("image",) if world_frames else (), make)
    records: list[EpisodeRecord] = []
    rows = [EpisodeRow(index, "fake", 0, index, 0, index, 0) for index in range(episodes)]
    began, cpu = time.monotonic(), time.process_time()
    roll_out(rows, FreePolicy(64), simulators, workers, lambda row, record: records.append(record))
    spent = time.monotonic() - began, time.process_time() - cpu
    assert [(record.status, record.steps) for record in records] == [("ok", STEPS)] * episodes
    return spent


def test_two_simulators_against_one(benchmark: Any) -> None:
    """The benchmark's time is that of two; ``extra_info`` has both, of three rounds in turn."""
    play(2, 2, known_cost.Slow)  # the fork server starts once in a process
    sides = (lambda: play(8, 1, known_cost.Slow)[0], lambda: play(8, 2, known_cost.Slow)[0])
    alone, together = map(min, take_turns(benchmark, *sides, 3))
    efficiency = alone / (2 * together)
    benchmark.extra_info.update(
        one=round(alone, 3), two=round(together, 3), efficiency=round(efficiency, 3)
    )
    print(
        f"\n  8 episodes of {STEPS} steps of {1e3 * known_cost.STEP_SECONDS:.0f} ms: {alone:.2f} s"
        f" with one simulator, {together:.2f} s with two: {100 * efficiency:.1f} % efficiency"
    )
    assert efficiency >= LEAST_EFFICIENCY


@pytest.mark.parametrize("world_frames", [0, 7])
def test_overhead_at_64_environments(benchmark: Any, world_frames: int) -> None:
    """A query of two 128-pixel images every 10 steps, with 7 more for the memory."""
    episodes = 256
    play(2, 2, known_cost.Free)
    spent: list[float] = []
    benchmark.pedantic(
        lambda: spent.append(play(episodes, 64, known_cost.Free, world_frames)[1]), rounds=3
    )
    each = min(spent) / (episodes * STEPS)
    benchmark.extra_info.update(
        cpu_microseconds_a_step=round(1e6 * each, 1), world_frames=world_frames
    )
    print(
        f"\n  64 environments, {world_frames} history frames a query: {1e6 * each:.0f} CPU us of"
        " the engine a step"
    )
    assert each < MOST_OVERHEAD
