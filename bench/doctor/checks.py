"""``wmbench doctor``: what was found on this machine, and for whatever is missing the line that
fixes it."""

import argparse
import dataclasses
import json
import os
import platform
import re
import shutil
import sys
import tomllib
from collections.abc import Callable, Sequence
from importlib.metadata import distributions, requires, version
from pathlib import Path

import psutil
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from bench.doctor import advice
from bench.doctor.all_reduce import all_reduce
from bench.doctor.finding import Finding
from bench.host import hardware
from bench.host.folders import CODE, is_checkout, working_folder
from bench.plan.machine import detect_accelerator, detect_machine, load_machine, load_performance
from bench.record.privacy import anonymous
from wmvla.errors import UserError

MUJOCO_VERSION = "3.3.2"
"""Other versions draw other pixels: from 3.3.3 on LIBERO-Object is darker, and success moves 7-20
points."""
DISK_NEEDED = 2 * 2**30
"""Free bytes below which a mini run (checkpoints, demonstrations, journals) is not sure to end."""
MEMORY_NEEDED = 7 * 2**30
"""A machine sold with 8 GB has a little less."""
VENDOR_PACKAGES = re.compile(r"torch|torchvision|torchcodec|triton|nvidia-.*|cuda-.*")
"""A container image keeps its vendor's build of these, whatever uv.lock says."""


def diagnose(root: Path | None = None) -> list[Finding]:
    """Look at everything a run needs. Takes seconds; a probe that fails is a finding, not an
    exception.

    `root`: what holds ``uv.lock``, ``results/`` and ``cache/``; by default the checkout, or the
    current folder where the code was installed from a wheel.
    """
    root = working_folder() if root is None else root
    probes: dict[str, Callable[[], Finding]] = {
        "python": _python,
        "packages": lambda: _packages(root),
        "uv": lambda: _uv(root),
        "torch": _torch,
        "accelerator": _accelerator,
        "machine": _machine,
        "renderer": _renderer,
        "mujoco": _mujoco,
        "libero": _libero,
        "plugin": _plugin,
        "results disk": lambda: _disk("results disk", root / "results"),
        "cache disk": lambda: _disk("cache disk", root / "cache"),
        "memory": _memory,
        "cores": lambda: Finding(
            "cores", f"{hardware.core_count()} usable, {hardware.cpu_model()}"
        ),
    }
    return [_examine(name, probe) for name, probe in probes.items()]


def examine_host(root: Path = advice.ROOT, call: advice.Call = advice.call) -> list[Finding]:
    """What the vendors recommend of the advice, and a sum over its devices. Nothing here is needed
    by a run but the sum."""
    try:
        accelerator = detect_accelerator()
    except UserError:  # the finding "torch" says what is wrong with it
        accelerator = "cpu"
    gpus = 0 if accelerator == "cpu" else len(hardware.torch_build()["devices"])
    probes: dict[str, Callable[[], Finding]] = {
        "NUMA balance": lambda: advice.numa_balancing(root),
        "CPU governor": lambda: advice.governor(root),
        "hugepages": lambda: advice.hugepages(root),
        "IOMMU": lambda: advice.iommu(accelerator, root),
        "GPU clocks": lambda: advice.gpu_clocks(accelerator, call=call),
        "all-reduce": lambda: all_reduce(gpus),
    }
    return [_examine(name, probe) for name, probe in probes.items()]


def main(argv: Sequence[str] | None = None) -> int:
    """Print the findings; 0 when nothing needed is missing, else 1."""
    parser = argparse.ArgumentParser(
        prog="wmbench doctor",
        usage=argparse.SUPPRESS,  # so that a wrong option is answered with one line
        description="Show what was found on this machine, and how to fix what is missing.",
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    arguments = parser.parse_args(argv)

    findings = [*diagnose(), *examine_host()]
    ok = all(finding.ok for finding in findings)
    if arguments.json:
        print(
            json.dumps(
                {"ok": ok, "findings": [dataclasses.asdict(finding) for finding in findings]},
                indent=1,
            )
        )
    else:
        for finding in findings:
            told = finding.found if finding.applicable else f"not applicable here: {finding.found}"
            wanted = f" (recommended: {finding.recommended})" if finding.recommended else ""
            print(f"{finding.label:8}{finding.name:14}{told}{wanted}")
            if finding.fix:
                print(f"{'':22}-> {finding.fix}")
    return 0 if ok else 1


def _examine(name: str, probe: Callable[[], Finding]) -> Finding:
    try:
        return probe()
    except UserError as error:  # says itself how to fix it
        return Finding(name, "no", ok=False, fix=str(error))
    except (
        Exception
    ) as error:  # whatever is broken on this machine, the other findings must still be shown
        reason = (str(error).splitlines() or [""])[0]
        return Finding(
            name,
            f"{type(error).__name__}: {reason}",
            ok=False,
            fix="make setup (it installs what is missing and leaves the rest)",
        )


def _python() -> Finding:
    found = f"{platform.python_version()} at {anonymous(sys.executable)}"
    ok = sys.version_info[:2] == (3, 12)
    return Finding("python", found, ok, "" if ok else "make setup, then use .venv/bin/wmbench")


def _packages(root: Path) -> Finding:
    if not is_checkout(CODE) and not (root / "uv.lock").is_file():
        return Finding("packages", "installed from a wheel: no uv.lock to compare with")
    locked = {
        package["name"]: package["version"]
        for package in tomllib.loads((root / "uv.lock").read_text())["package"]
        if "registry" in package["source"]
    }
    installed = {
        canonicalize_name(distribution.metadata["Name"]): distribution.version
        for distribution in distributions()
    }
    faults = [
        f"{name} {installed[name]} (locked: {wanted})"
        for name, wanted in locked.items()
        if name in installed
        and not VENDOR_PACKAGES.fullmatch(name)
        and Version(installed[name]) != Version(wanted)
    ]
    direct = (Requirement(line).name for line in requires("lerobot_policy_smolvla_world") or ())
    faults += [
        f"{name} is not installed" for name in direct if canonicalize_name(name) not in installed
    ]
    if faults:
        return Finding("packages", ", ".join(faults), ok=False, fix="make setup")
    return Finding("packages", f"{len(installed)} installed, as in uv.lock")


def _uv(root: Path) -> Finding:
    found = shutil.which("uv") or shutil.which("uv", path=str(root / ".tools/uv/bin"))
    return Finding(
        "uv",
        anonymous(found) if found else "not here; only make setup needs it, and fetches it itself",
    )


def _torch() -> Finding:
    build = hardware.torch_build()
    kind = (
        f"ROCm {build['hip']}"
        if build["hip"]
        else f"CUDA {build['cuda']}"
        if build["cuda"]
        else "CPU only"
    )
    return Finding("torch", f"{build['version']}, built for {kind}")


def _accelerator() -> Finding:
    devices = hardware.torch_build()["devices"]
    driver = hardware.driver_version()
    if devices:
        names = ", ".join(f"{d['name']} ({d['memory_bytes'] / 2**30:.0f} GiB)" for d in devices)
        return Finding("accelerator", f"{detect_machine()}: {names}; driver {driver or 'unknown'}")
    if driver:
        # No fault: a desktop's graphics card has a driver too, and the CPU can do the work.
        fix = (
            "to train on the GPU: install the torch build for it, and make it visible "
            "(CUDA_VISIBLE_DEVICES)"
        )
        return Finding(
            "accelerator", f"none that torch can use, but there is a GPU driver: {driver}", fix=fix
        )
    return Finding("accelerator", "none: training uses the CPU")


def _machine() -> Finding:
    """The machine that a plan takes where none is given."""
    name = detect_machine()
    machine, performance = load_machine(name), load_performance(name)
    processes = machine.training_processes
    found = (
        f"{name}: {processes} training process{'es' if processes > 1 else ''},"
        f" {machine.precision}, "
    )
    found += f"{len(performance.references) or 'no'} references"
    generic = name in ("cuda", "rocm")
    fix = (
        "to use more of it: write a file bench/plan/machines/NAME.toml for these GPUs, like "
        f"{name}.toml"
        if generic
        else ""
    )
    return Finding("machine", found, fix=fix)


def _renderer() -> Finding:
    found = hardware.gl_renderer()
    return Finding("renderer", f"{found} (MUJOCO_GL={os.environ['MUJOCO_GL']})")


def _mujoco() -> Finding:
    found = version("mujoco")
    ok = found == MUJOCO_VERSION
    return Finding(
        "mujoco",
        found,
        ok,
        ""
        if ok
        else f"make setup (results need {MUJOCO_VERSION}: other renderers draw different pixels)",
    )


def _libero() -> Finding:
    from wmvla.sim.libero import assets

    assets.prepare_libero()
    return Finding(
        "libero",
        f"hf-libero {version('hf-libero')}, assets installed,"
        f" {anonymous(os.environ['LIBERO_CONFIG_PATH'])}",
    )


def _plugin() -> Finding:
    plugin = "lerobot_policy_smolvla_world"
    return Finding("plugin", f"{plugin} {version(plugin)} for LeRobot {version('lerobot')}")


def _disk(name: str, folder: Path) -> Finding:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    found = f"{free / 2**30:.1f} GiB free for {folder.name}/"
    if not os.access(existing, os.W_OK):
        return Finding(
            name,
            f"{folder.name}/ is not writable",
            ok=False,
            fix=f"make {anonymous(str(existing))} writable",
        )
    if free < DISK_NEEDED:
        fix = (
            f"free {DISK_NEEDED / 2**30:.0f} GiB there, or make {folder.name}/ a link to a larger"
            " disk"
        )
        return Finding(name, found, ok=False, fix=fix)
    return Finding(name, found)


def _memory() -> Finding:
    usable = hardware.memory_bytes()
    found = (
        f"{usable / 2**30:.1f} GiB, {psutil.virtual_memory().available / 2**30:.1f} GiB of it free"
    )
    ok = usable >= MEMORY_NEEDED
    return Finding(
        "memory", found, ok, "" if ok else "use a machine, or a container limit, with 8 GB"
    )


if __name__ == "__main__":
    sys.exit(main())
