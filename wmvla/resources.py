"""How many simulator processes this one may start: by the cores and the memory that it is given."""

import math
import os
import re
from pathlib import Path

import psutil

from wmvla.processes import by_srun

SIMULATOR_BYTES = 3 * 2**30
"""Memory of one simulator process of LIBERO. Measured (resident, MuJoCo 3.3.2, OSMesa, after a
reset that checked the cheap one): 2.5 GiB for libero_object at 128 pixels, 2.9 GiB for libero_10 at
256. It does not grow from task to task."""
FORKED_SIMULATOR_BYTES = 150 * 2**20
"""Memory of one that is forked from a process with the scene, beside what it shares. Measured
(private, after an episode with both cameras): 56 to 98 MB."""
CONTROL_SIMULATOR_BYTES = 2**29
"""Memory of one of a control scene. Measured in the same way: 0.42 GiB at 256 pixels, most of it
shared with the fork server."""
CGROUPS = Path("/sys/fs/cgroup")


def worker_count(rows: int, policy_on_gpu: bool, needs: tuple[int, int]) -> int:
    """Simulator processes of this rank for ``rows`` episodes: at least 1, and never more than rows.
    ``needs``: bytes that all of them share, and those of each.

    The ranks of a machine share its memory, and its cores where torchrun started them; Slurm gives
    each cores of its own. A policy on a GPU keeps a core busy beside the simulators; one on the CPU
    works while they wait for it.
    """
    cores = usable_cores() // ranks_on_these_cores() - policy_on_gpu
    memory = usable_memory() // local_rank()[1]
    shared, each = needs
    return max(1, min(rows, cores, (memory - shared) // each))


def usable_cores() -> int:
    """Cores that this process may run on, or fewer by a container's quota."""
    cores = len(os.sched_getaffinity(0))
    for folder in _own_cgroups("cpu"):
        quota, period = _cpu_quota(folder)
        if quota is not None and period:
            cores = min(cores, max(1, math.floor(quota / period)))
    return cores


def usable_memory() -> int:
    """Bytes that are free on the machine, or fewer where a container's limit leaves less."""
    free = psutil.virtual_memory().available
    for folder in _own_cgroups("memory"):
        for limit_file, used_file in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            limit, used = _number(folder / limit_file), _number(folder / used_file)
            if limit is not None and used is not None:
                free = min(free, max(0, limit - used + _reclaimable(folder)))
    return free


def _own_cgroups(controller: str) -> list[Path]:
    """Folders of this process's control group and those above it, in both versions' places.

    Non-obvious: in a container the group's path is often the host's, which does not exist inside;
    its root folder then is the container's own group.
    """
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    folders = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = CGROUPS / controller if controllers else CGROUPS
        group = Path(path.strip("/"))
        folders += [root / part for part in (group, *group.parents)]
    return folders


def _cpu_quota(folder: Path) -> tuple[int | None, int | None]:
    """Microseconds of CPU time for each period of so many; no quota is None."""
    try:
        quota, period = (folder / "cpu.max").read_text().split()
    except (OSError, ValueError):
        quota_us, period_us = (_number(folder / f"cpu.cfs_{n}_us") for n in ("quota", "period"))
        return (None if quota_us is None or quota_us < 0 else quota_us), period_us
    return (None if quota == "max" else int(quota)), int(period)


def _reclaimable(folder: Path) -> int:
    """Bytes of cached files, which count as used but are given up when memory is asked for."""
    try:
        lines = (folder / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    stat = dict(line.split() for line in lines)
    return int(stat.get("total_inactive_file", stat.get("inactive_file", 0)))


def _number(file: Path) -> int | None:
    """What a control group's file says; None for no such file and for ``max``: no limit."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def local_rank() -> tuple[int, int]:
    """This rank of torchrun or srun on this machine, and how many they are; (0, 1) without."""
    if "LOCAL_WORLD_SIZE" in os.environ or not by_srun():
        return int(os.environ.get("LOCAL_RANK", "0")), ranks_on_these_cores()
    one = os.environ.get("SLURM_NTASKS_PER_NODE", "1")
    tasks = os.environ.get("SLURM_STEP_TASKS_PER_NODE") or one
    node = int(os.environ.get("SLURM_NODEID", "0"))
    return int(os.environ.get("SLURM_LOCALID", "0")), _tasks_of_node(tasks, node)


def ranks_on_these_cores() -> int:
    """How many ranks share the cores that this process may run on: those of torchrun."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _tasks_of_node(tasks: str, node: int) -> int:
    """Slurm's number for a node: ``4``, or ``2(x3),1`` for three nodes of two and one of one."""
    numbers: list[int] = []
    for number, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", tasks):
        numbers += [int(number)] * int(times or 1)
    return numbers[min(node, len(numbers) - 1)] if numbers else 1
