"""Simulator processes from cores and memory, with a container's limits."""

import os
from types import SimpleNamespace

import psutil
import pytest

from wmvla import resources
from wmvla.recipe import Environment
from wmvla.resources import SIMULATOR_BYTES, local_rank, usable_cores, usable_memory, worker_count
from wmvla.sim.suites import simulator_bytes

EACH_ITS_OWN = 0, SIMULATOR_BYTES


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine of 8 cores and 100 simulators' memory, whose control groups are files below
    ``tmp_path``."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.setattr(
        psutil, "virtual_memory", lambda: SimpleNamespace(available=100 * SIMULATOR_BYTES)
    )
    monkeypatch.setattr(resources, "CGROUPS", tmp_path)
    return tmp_path


def test_one_simulator_a_core_and_one_core_for_a_gpu_policy(machine):
    assert worker_count(200, False, EACH_ITS_OWN) == 8
    assert worker_count(200, True, EACH_ITS_OWN) == 7
    assert worker_count(3, False, EACH_ITS_OWN) == 3
    assert worker_count(0, False, EACH_ITS_OWN) == 1


@pytest.fixture
def no_ranks(monkeypatch):
    for name in ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, (0, 1)),
        ({"LOCAL_RANK": "3", "LOCAL_WORLD_SIZE": "4"}, (3, 4)),
        ({"SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_TASKS_PER_NODE": "1"}, (0, 1)),
        ({"SLURM_STEP_NUM_TASKS": "8", "SLURM_STEP_TASKS_PER_NODE": "4(x2)"}, (2, 4)),
        ({"SLURM_STEP_NUM_TASKS": "7", "SLURM_STEP_TASKS_PER_NODE": "4,3"}, (2, 3)),
        ({"SLURM_STEP_NUM_TASKS": "8", "SLURM_NTASKS_PER_NODE": "4"}, (2, 4)),
        ({"SLURM_STEP_NUM_TASKS": "2"}, (2, 1)),
    ],
)
def test_ranks_of_one_machine(variables, expected, no_ranks, monkeypatch):
    for name in ("SLURM_STEP_TASKS_PER_NODE", "SLURM_NTASKS_PER_NODE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"SLURM_LOCALID": "2", "SLURM_NODEID": "1", **variables}.items():
        monkeypatch.setenv(name, value)
    assert local_rank() == expected


def test_ranks_share_memory_and_torchruns_share_cores(machine, no_ranks, monkeypatch):
    monkeypatch.setattr(
        psutil, "virtual_memory", lambda: SimpleNamespace(available=12 * SIMULATOR_BYTES)
    )
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert worker_count(200, False, EACH_ITS_OWN) == 2, "8 cores"
    assert worker_count(200, True, EACH_ITS_OWN) == 1
    monkeypatch.delenv("LOCAL_WORLD_SIZE")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    monkeypatch.setenv("SLURM_STEP_TASKS_PER_NODE", "4")
    assert worker_count(200, False, EACH_ITS_OWN) == 3, "its own 8 cores, and a quarter of 12"


def test_a_control_scene_takes_less_memory_than_libero(machine, no_ranks, monkeypatch):
    monkeypatch.setattr(
        psutil, "virtual_memory", lambda: SimpleNamespace(available=SIMULATOR_BYTES)
    )
    counts = [
        worker_count(200, False, simulator_bytes(Environment(suite, (0,), 32, 30)))
        for suite in ("libero_object", "control_catch")
    ]
    assert counts == [1, 8]


def test_memory_bounds_the_simulators(machine, monkeypatch):
    monkeypatch.setattr(
        psutil, "virtual_memory", lambda: SimpleNamespace(available=int(2.9 * SIMULATOR_BYTES))
    )
    assert worker_count(200, False, EACH_ITS_OWN) == 2
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=0))
    assert worker_count(200, False, EACH_ITS_OWN) == 1


def test_limits_of_control_groups_version_2(machine):
    (machine / "memory.max").write_text(f"{4 * SIMULATOR_BYTES}\n")
    (machine / "memory.current").write_text(f"{2 * SIMULATOR_BYTES}\n")
    assert usable_memory() == 2 * SIMULATOR_BYTES
    (machine / "memory.stat").write_text(f"anon 1\ninactive_file {SIMULATOR_BYTES}\n")
    assert usable_memory() == 3 * SIMULATOR_BYTES, "cached files are given up"
    (machine / "cpu.max").write_text("250000 100000\n")
    assert usable_cores() == 2
    (machine / "cpu.max").write_text("50000 100000\n")
    assert usable_cores() == 1
    for name in ("memory.max", "cpu.max"):
        (machine / name).write_text("max 100000\n" if name == "cpu.max" else "max\n")
    assert (usable_cores(), usable_memory()) == (8, 100 * SIMULATOR_BYTES)


def test_limits_of_control_groups_version_1(machine, monkeypatch):
    monkeypatch.setattr(
        resources.Path, "read_text", _with_own_groups("4:memory:/a/b\n2:cpu,cpuacct:/a\n0::/\n")
    )
    inner, outer = machine / "memory" / "a" / "b", machine / "memory" / "a"
    inner.mkdir(parents=True)
    for folder, limit in ((inner, 9223372036854771712), (outer, 5 * SIMULATOR_BYTES)):
        (folder / "memory.limit_in_bytes").write_text(f"{limit}\n")
        (folder / "memory.usage_in_bytes").write_text(f"{SIMULATOR_BYTES}\n")
    assert usable_memory() == 4 * SIMULATOR_BYTES, "the group above is the narrower one"
    group = machine / "cpu" / "a"
    group.mkdir(parents=True)
    (group / "cpu.cfs_period_us").write_text("100000\n")
    (group / "cpu.cfs_quota_us").write_text("300000\n")
    monkeypatch.setattr(resources.Path, "read_text", _with_own_groups("2:cpu:/a\n"))
    assert usable_cores() == 3
    (group / "cpu.cfs_quota_us").write_text("-1\n")
    assert usable_cores() == 8


def _with_own_groups(text, read_text=resources.Path.read_text):
    return lambda path, *rest: text if str(path) == "/proc/self/cgroup" else read_text(path, *rest)


def test_this_machine_can_play():
    assert 1 <= worker_count(1000, False, EACH_ITS_OWN) <= len(os.sched_getaffinity(0))
