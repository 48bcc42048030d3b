"""What a simulator of LIBERO costs: CPU seconds until its first query, and memory.

Sides: each simulator builds its own scene, or all are forked from the process that has it. Memory
is the sum of proportional set sizes, in which what processes share counts once, of all processes
below this one.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import psutil
import pytest

from wmvla.recipe import Environment, EpisodeRow
from wmvla.rollout.engine import roll_out
from wmvla.rollout.episode import Answer, Query
from wmvla.rollout.worker import Simulators
from wmvla.sim.suites import can_be_forked, make_simulation

FORKED, ALONE = 8, 2
"""Simulators of each side; each alone holds 2.6 GB."""
SUITE, TASK = "libero_object", 7
MIB = 2**20


class AllHaveAsked:
    """Answers every query; when each of ``simulators`` has asked once, CPU seconds and memory."""

    largest_batch = 1

    def __init__(self, simulators: int) -> None:
        self.simulators = simulators
        self.asked: set[int] = set()
        self.before = cpu_seconds()
        self.cpu, self.shared, self.own = 0.0, 0.0, 0.0

    def act(self, queries: Sequence[Query]) -> list[Answer]:
        self.asked.update(query.row.index for query in queries)
        if len(self.asked) == self.simulators and not self.cpu:
            self.cpu = (cpu_seconds() - self.before) / self.simulators
            used = [each.memory_full_info() for each in psutil.Process().children(recursive=True)]
            self.shared = sum(each.pss for each in used) / MIB
            self.own = float(np.median([each.uss for each in used])) / MIB
        waits = len(self.asked) < self.simulators
        return [Answer(np.zeros((1 if waits else 200, 7)), 0.0) for _ in queries]


def cpu_seconds() -> float:
    """Of all processes below this one, and of those that they have waited for."""
    times = [each.cpu_times() for each in psutil.Process().children(recursive=True)]
    return sum(t.user + t.system + t.children_user + t.children_system for t in times)


def measured(simulators: int, built_once: bool, task: int = TASK) -> AllHaveAsked:
    environment = Environment(SUITE, (task,), image_size=64, max_steps=200)
    rows = [EpisodeRow(i, SUITE, task, i, 0, i, 0) for i in range(simulators)]
    policy = AllHaveAsked(simulators)
    how = Simulators(environment, 0, (), make_simulation, built_once=built_once)
    roll_out(rows, policy, how, simulators, lambda row, record: None)
    return policy


@pytest.mark.skipif(not can_be_forked(), reason="a scene that a GPU draws cannot be forked")
def test_forked_simulators_against_those_of_their_own(benchmark: Any) -> None:
    """``extra_info``: CPU seconds until the first query, MiB of all together and of each."""
    measured(1, built_once=False, task=TASK + 1)  # the fork server starts once
    found: dict[str, AllHaveAsked] = {}

    def all_ways() -> None:
        found["own"] = measured(ALONE, built_once=False)
        found["first"] = measured(1, built_once=True)
        found["next"] = measured(FORKED, built_once=True)

    benchmark.pedantic(all_ways, rounds=1)
    own, first, after = found["own"], found["first"], found["next"]
    benchmark.extra_info.update(
        own_cpu_seconds=round(own.cpu, 2),
        first_cpu_seconds=round(first.cpu, 2),
        next_cpu_seconds=round(after.cpu, 2),
        own_mib=round(own.shared / ALONE),
        forked_mib=round(after.shared),
        forked_own_mib=round(after.own),
    )
    print(
        f"\n  CPU s until the first query: own scene {own.cpu:.2f}, first of a shared one"
        f" {first.cpu:.2f}, each further one {after.cpu:.2f}; memory: own scene"
        f" {own.shared / ALONE:.0f} MiB each, {FORKED} forked {after.shared:.0f} MiB together and"
        f" {after.own:.0f} of their own"
    )
    assert after.shared <= FORKED * own.shared / ALONE / 6
    assert after.own <= 150
