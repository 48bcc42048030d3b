"""``wmbench doctor``: what was found on this machine, and the fix for whatever is missing."""

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
"""From 3.3.3 on other pixels are drawn: LIBERO-Object is darker, and success moves 7-20 points."""
DISK_NEEDED = 2 * 2**30
"""Free bytes below which a mini run (checkpoints, demonstrations, journals) is not sure to end."""
MEMORY_NEEDED = 7 * 2**30
"""A machine sold with 8 GB has a little less."""
VENDOR_PACKAGES = re.compile(r"torch|torchvision|torchcodec|triton|nvidia-.*|cuda-.*")
"""A container image keeps its vendor's build of these, whatever uv.lock says."""


def diagnose(root: Path | None = None) -> list[Finding]:
    """Look at everything a run needs, in seconds; a probe that fails is a finding, no exception.
    `root`: what holds ``uv.lock``, ``results/`` and ``cache/``; default: `working_folder`."""
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
        "cores": _cores,
    }
    return [_examine(name, probe) for name, probe in probes.items()]


def examine_host() -> list[Finding]:
    """What the vendors recommend of the host, and a sum over its devices, which a run needs."""
    try:
        accelerator = detect_accelerator()
    except UserError:  # the finding "torch" says what is wrong with it
        accelerator = "cpu"
    gpus = 0 if accelerator == "cpu" else len(hardware.torch_build()["devices"])
    probes: dict[str, Callable[[], Finding]] = {
        "NUMA balance": advice.numa_balancing,
        "CPU governor": advice.governor,
        "hugepages": advice.hugepages,
        "IOMMU": lambda: advice.iommu(accelerator),
        "GPU clocks": lambda: advice.gpu_clocks(accelerator),
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
        content = {"ok": ok, "findings": [dataclasses.asdict(finding) for finding in findings]}
        print(json.dumps(content, indent=1))
    else:
        for finding in findings:
            found = finding.found if finding.applicable else f"not applicable here: {finding.found}"
            wanted = f" (recommended: {finding.recommended})" if finding.recommended else ""
            print(f"{finding.label:8}{finding.name:14}{found}{wanted}")
            if finding.fix:
                print(f"{'':22}-> {finding.fix}")
    return 0 if ok else 1


def _examine(name: str, probe: Callable[[], Finding]) -> Finding:
    try:
        return probe()
    except UserError as error:  # says itself how to fix it
        return Finding(name, "no", ok=False, fix=str(error))
    except Exception as error:
        # Whatever is broken on this machine, the other findings must still be shown.
        reason = (str(error).splitlines() or [""])[0]
        fix = "make setup (it installs what is missing and leaves the rest)"
        return Finding(name, f"{type(error).__name__}: {reason}", ok=False, fix=fix)


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
    installed = {canonicalize_name(each.metadata["Name"]): each.version for each in distributions()}
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
    absent = "not here; only make setup needs it, and fetches it itself"
    return Finding("uv", anonymous(found) if found else absent)


def _torch() -> Finding:
    build = hardware.torch_build()
    kind = f"CUDA {build['cuda']}" if build["cuda"] else "CPU only"
    kind = f"ROCm {build['hip']}" if build["hip"] else kind
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
        found = f"none that torch can use, but there is a GPU driver: {driver}"
        return Finding("accelerator", found, fix=fix)
    return Finding("accelerator", "none: training uses the CPU")


def _machine() -> Finding:
    """The machine that a plan takes if none is given."""
    name = detect_machine()
    machine, performance = load_machine(name), load_performance(name)
    processes = machine.training_processes
    found = (
        f"{name}: {processes} training process{'es' if processes > 1 else ''},"
        f" {machine.precision}, {len(performance.references) or 'no'} references"
    )
    fix = (
        "to use more of it: write a file bench/plan/machines/NAME.toml for these GPUs, like "
        f"{name}.toml"
    )
    return Finding("machine", found, fix=fix if name in ("cuda", "rocm") else "")


def _renderer() -> Finding:
    found = hardware.gl_renderer()
    return Finding("renderer", f"{found} (MUJOCO_GL={os.environ['MUJOCO_GL']})")


def _mujoco() -> Finding:
    found = version("mujoco")
    ok = found == MUJOCO_VERSION
    fix = f"make setup (results need {MUJOCO_VERSION}: other renderers draw different pixels)"
    return Finding("mujoco", found, ok, "" if ok else fix)


def _libero() -> Finding:
    from wmvla.sim.libero import assets

    assets.prepare_libero()
    place = anonymous(os.environ["LIBERO_CONFIG_PATH"])
    return Finding("libero", f"hf-libero {version('hf-libero')}, assets installed, {place}")


def _plugin() -> Finding:
    plugin = "lerobot_policy_smolvla_world"
    return Finding("plugin", f"{plugin} {version(plugin)} for LeRobot {version('lerobot')}")


def _disk(name: str, folder: Path) -> Finding:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    found = f"{free / 2**30:.1f} GiB free for {folder.name}/"
    if not os.access(existing, os.W_OK):
        fix = f"make {anonymous(str(existing))} writable"
        return Finding(name, f"{folder.name}/ is not writable", ok=False, fix=fix)
    if free < DISK_NEEDED:
        needed = f"free {DISK_NEEDED / 2**30:.0f} GiB there"
        fix = f"{needed}, or make {folder.name}/ a link to a larger disk"
        return Finding(name, found, ok=False, fix=fix)
    return Finding(name, found)


def _memory() -> Finding:
    usable, free = hardware.memory_bytes(), psutil.virtual_memory().available
    found = f"{usable / 2**30:.1f} GiB, {free / 2**30:.1f} GiB of it free"
    ok = usable >= MEMORY_NEEDED
    fix = "" if ok else "use a machine, or a container limit, with 8 GB"
    return Finding("memory", found, ok, fix)


def _cores() -> Finding:
    return Finding("cores", f"{hardware.core_count()} usable, {hardware.cpu_model()}")


if __name__ == "__main__":
    sys.exit(main())
