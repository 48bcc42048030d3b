"""What this computer is: cores, memory, torch's accelerator, OpenGL. Read, never guessed."""

import functools
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from bench.host.folders import CODE

Accelerator = Literal["cpu", "cuda", "rocm"]

_CGROUP_MEMORY_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
_DRIVER_VERSION_FILES = (Path("/proc/driver/nvidia/version"), Path("/sys/module/amdgpu/version"))
SAY_SECONDS = 20.0
"""How often a wait is reported."""
_PRINT_TORCH = """
import json, torch
devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
properties = [torch.cuda.get_device_properties(device) for device in devices]
print(json.dumps({
    "version": torch.__version__,
    "cuda": torch.version.cuda,
    "hip": torch.version.hip,
    "devices": [{"name": p.name, "memory_bytes": p.total_memory} for p in properties],
}))
"""


def cpu_model() -> str:
    """The processor's name as the kernel gives it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def core_count() -> int:
    """Cores that this process may use: fewer than all under Slurm, taskset or a cpuset."""
    return len(os.sched_getaffinity(0))


def memory_bytes() -> int:
    """Memory that this process may use: the machine's, or a container's lower limit."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in _CGROUP_MEMORY_LIMITS:
        if path.exists() and (text := path.read_text().strip()).isdigit():
            limits.append(int(text))
    return min(limits)


@functools.cache
def torch_build() -> dict[str, Any]:
    """``{"version", "cuda", "hip", "devices": [{"name", "memory_bytes"}]}`` of the installed torch.
    Non-obvious: a child process asks, so that no CUDA context is left in the caller, which may
    fork. Raises ``RuntimeError`` with torch's own last line when it cannot be imported."""
    build: dict[str, Any] = json.loads(_answer("torch", "-c", _PRINT_TORCH))
    return build


def _answer(what: str, *arguments: str) -> str:
    """The last line that Python prints with ``arguments``, however long it takes. Non-obvious: a
    first import from a cold network disk takes minutes, and is no fault; so there is no time-out,
    but a line on stderr from time to time. RuntimeError with the last line of its own."""
    command, pipe = [sys.executable, *arguments], subprocess.PIPE
    child = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=CODE)
    began = time.monotonic()
    try:
        while True:
            try:
                printed, complaint = child.communicate(timeout=SAY_SECONDS)
                break
            except subprocess.TimeoutExpired:
                so_far = f"{time.monotonic() - began:.0f} s so far"
                why = "a first import from a slow disk takes minutes"
                print(f"waiting for {what} ({so_far}; {why})", file=sys.stderr, flush=True)
    finally:
        child.kill()
    if child.returncode != 0:
        lines = complaint.strip().splitlines()
        raise RuntimeError((lines or [f"{what} exited with {child.returncode}"])[-1])
    return printed.strip().splitlines()[-1]


def driver_version() -> str | None:
    """First line of the GPU driver's version file; None without a GPU driver."""
    for path in _DRIVER_VERSION_FILES:
        if path.exists():
            return path.read_text().splitlines()[0].strip()
    return None


def gl_renderer() -> str:
    """Vendor, renderer and version of the OpenGL that draws the frames. UserError without one."""
    from wmvla.sim.libero import assets

    return assets.gl_renderer()


def task_files(suite: str, tasks: Iterable[int]) -> dict[str, Path]:
    """The files of LIBERO that decide these tasks, by name; none of a suite of our own."""
    from wmvla.sim.libero import task_files

    return task_files.task_files(suite, tasks)


def golden_frame() -> str:
    """Hash of ``bench.host.golden_frame``, drawn in a child: a broken driver may take it down."""
    from wmvla.sim.libero import assets

    assets.prepare_libero()
    return _answer("a drawn frame", "-m", "bench.host.golden_frame")
