"""Simulator processes from cores and memory, with a container's limits."""

import os
from types import SimpleNamespace

import psutil
import pytest

from wmvla import resources
from wmvla.resources import SIMULATOR_BYTES, usable_cores, usable_memory, worker_count


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
    assert worker_count(200, policy_on_gpu=False) == 8
    assert worker_count(200, policy_on_gpu=True) == 7
    assert worker_count(3, policy_on_gpu=False) == 3
    assert worker_count(0, policy_on_gpu=False) == 1


def test_memory_bounds_the_simulators(machine, monkeypatch):
    monkeypatch.setattr(
        psutil, "virtual_memory", lambda: SimpleNamespace(available=int(2.9 * SIMULATOR_BYTES))
    )
    assert worker_count(200, policy_on_gpu=False) == 2
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=0))
    assert worker_count(200, policy_on_gpu=False) == 1


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
    assert 1 <= worker_count(1000, policy_on_gpu=False) <= len(os.sched_getaffinity(0))
