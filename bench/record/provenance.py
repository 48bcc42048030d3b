"""Where a result comes from: source, locked packages, machine, renderer; ``provenance.json``.

No secrets, user names or host names: environment variables are taken from a list, and all text
passes `bench.record.privacy`. Hashes of checkpoints, datasets and latents are not known when a run
begins: they stand in the records of the cases that made them.
"""

import datetime
import hashlib
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import Any

from bench.formats.checksums import sha256_of
from bench.formats.strict_json import read_object
from bench.host import hardware
from bench.host.folders import CODE, is_checkout
from bench.record.code_version import code_sha256
from bench.record.privacy import anonymous
from wmvla.errors import UserError
from wmvla.recipe import Environment

PACKAGES = (
    "torch", "torchvision", "lerobot", "transformers", "tokenizers", "accelerate", "deepspeed",
    "safetensors", "datasets", "huggingface-hub", "draccus", "mujoco", "robosuite", "hf-libero",
    "gymnasium", "PyOpenGL", "numpy", "scipy", "pillow", "opencv-python-headless", "av", "jinja2",
    "pytest", "pytest-benchmark", "lerobot_policy_smolvla_world",
)  # fmt: skip
"""What a figure, a frame or a page can depend on; ``installed_sha256`` is over all others too."""
VENDOR_PACKAGES = re.compile(r"(nvidia-|triton|pytorch-triton|amd)")
"""Kernels that the accelerator's vendor brings, named where they are installed."""
ENVIRONMENT = (
    "ACCELERATE_MIXED_PRECISION", "CUBLAS_WORKSPACE_CONFIG", "CUDA_DEVICE_MAX_CONNECTIONS",
    "CUDA_LAUNCH_BLOCKING", "CUDA_VISIBLE_DEVICES", "DS_ACCELERATOR", "EGL_PLATFORM",
    "GALLIUM_DRIVER", "GPU_MAX_HW_QUEUES", "HF_HUB_OFFLINE", "HIP_VISIBLE_DEVICES",
    "HSA_FORCE_FINE_GRAIN_PCIE", "HSA_OVERRIDE_GFX_VERSION", "LIBERO_CONFIG_PATH",
    "LIBGL_ALWAYS_SOFTWARE", "LOCAL_WORLD_SIZE", "LP_NUM_THREADS", "MESA_GL_VERSION_OVERRIDE",
    "MKL_NUM_THREADS", "MUJOCO_EGL_DEVICE_ID", "MUJOCO_GL", "NVIDIA_TF32_OVERRIDE",
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PYOPENGL_PLATFORM", "PYTHONDONTWRITEBYTECODE",
    "PYTHONHASHSEED", "PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF",
    "PYTORCH_ROCM_ARCH", "PYTORCH_TUNABLEOP_ENABLED", "ROCR_VISIBLE_DEVICES", "SLURM_NNODES",
    "SLURM_NTASKS", "TOKENIZERS_PARALLELISM", "TORCH_EXTENSIONS_DIR", "TORCH_NCCL_BLOCKING_WAIT",
    "TRANSFORMERS_OFFLINE", "WORLD_SIZE",
)  # fmt: skip
"""Variables that can change a number, a pixel or a speed."""
ENVIRONMENT_PREFIXES = ("NCCL_", "RCCL_", "GLOO_", "MIOPEN_", "HIPBLASLT_", "ROCBLAS_")
"""The same, of libraries with too many to list."""
TASK_FILES = "task_files"
"""Under this key stands what LIBERO's files were, where the suite is LIBERO's."""
IMAGE_DIGEST = "WMBENCH_IMAGE_DIGEST"
"""A container cannot ask for its own digest: who starts it says it."""


def collect(root: Path = CODE, command: str | None = None) -> dict[str, Any]:
    """The provenance of what runs now, as JSON types. Takes 3 s: torch and OpenGL answer in child
    processes. `command`: what the user gave; None: this process's own command line. What cannot be
    found out is ``{"error": one line}``: no run is lost for want of a version."""
    installed = {_canonical(each.name): each.version for each in distributions()}
    return {
        "collected_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": anonymous(command or shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])),
        "git": _or_error(lambda: git_state(root)),
        "code_sha256": _or_error(lambda: code_sha256(root)),
        "uv_lock_sha256": _or_error(lambda: _lock_sha256(root)),
        "image_digest": _or_error(image_digest),
        "python": platform.python_version(),
        "packages": {
            **{name: _version(name) for name in PACKAGES},
            **{name: installed[name] for name in sorted(installed) if VENDOR_PACKAGES.match(name)},
        },
        "installed_sha256": _or_error(installed_sha256),
        "platform": platform.platform(),
        "cpu": {
            "model": hardware.cpu_model(),
            "cores_usable": hardware.core_count(),
            "cores": os.cpu_count(),
            "memory_bytes": hardware.memory_bytes(),
        },
        "torch": _or_error(hardware.torch_build),
        "gpu_driver": hardware.driver_version(),
        "gl_renderer": (renderer := _or_error(hardware.gl_renderer)),
        "mesa": mesa_version(renderer),
        "golden_frame_sha256": _or_error(hardware.golden_frame),
        "environment": {
            name: anonymous(os.environ[name])
            for name in sorted(os.environ)
            if name in ENVIRONMENT or name.startswith(ENVIRONMENT_PREFIXES)
        },
    }


def image_digest() -> str | None:
    """``sha256:<64 hex>`` of this container's image, if any. UserError if it is no digest."""
    said = os.environ.get(IMAGE_DIGEST)
    if said and not re.fullmatch(r"sha256:[0-9a-f]{64}", said):
        raise UserError(
            f"{IMAGE_DIGEST} is '{anonymous(said)}'; give sha256: and 64 hex digits of the image,"
            " or unset it"
        )
    return said or None


def refuse_another_renderer(run_dir: Path) -> None:
    """UserError if the run in `run_dir` began with another OpenGL or MuJoCo than is here.
    Non-obvious: a shard, or a run that is continued, may be on another machine. Equal scenes drawn
    differently are not the same input, and no scene hash shows it."""
    path = run_dir / "provenance.json"
    began = read_object(path)
    if began is None:
        return
    here = {"gl_renderer": _or_error(hardware.gl_renderer), "mujoco": _version("mujoco")}
    packages = began.get("packages", {})
    there = {"gl_renderer": began.get("gl_renderer"), "mujoco": packages.get("mujoco")}
    for what in here:
        both_known = isinstance(there[what], str) and isinstance(here[what], str)
        if both_known and here[what] != there[what]:
            raise UserError(
                f"{path}: the run's frames are drawn with {what} '{there[what]}', here it is '"
                f"{here[what]}'; continue it on the machine where it began, or give another "
                "--results"
            )


def sums_of_tasks(environment: Environment) -> dict[str, str]:
    """SHA-256 of every file of LIBERO that decides the environment's tasks. UserError: one cannot
    be read."""
    sums = {}
    for name, path in hardware.task_files(environment.suite, environment.tasks).items():
        try:
            sums[name] = sha256_of(path)
        except OSError as error:
            raise UserError(
                f"{path}: cannot be read: {error.strerror}; install hf-libero again (make setup)"
            ) from None
    return sums


def refuse_other_tasks(run_dir: Path, sums: Mapping[str, str]) -> None:
    """UserError if a task's file is not what it was when the run in `run_dir` began; a run from
    before there were sums is believed.

    `sums`: see `sums_of_tasks`.
    """
    path = run_dir / "provenance.json"
    for name, began in (read_object(path) or {}).get(TASK_FILES, {}).items():
        if (here := sums.get(name)) != began:
            now = "is missing" if here is None else f"is {here[:12]}..."
            raise UserError(
                f"libero/libero/{name}: its checksum {now}, but {path} says {began[:12]}...: the"
                " run began with another file; put it back (make setup), or give another --results"
            )


def mesa_version(renderer: object) -> str | None:
    """Mesa's version in what OpenGL says of itself, if Mesa draws."""
    found = re.search(r"\bMesa (\d[\w.-]*)", renderer) if isinstance(renderer, str) else None
    return found[1] if found else None


def installed_sha256() -> str:
    """SHA-256 over ``name==version`` of all that is installed, to compare environments."""
    lines = {f"{_canonical(each.name)}=={each.version}" for each in distributions()}
    return hashlib.sha256("".join(f"{line}\n" for line in sorted(lines)).encode()).hexdigest()


def git_state(root: Path) -> dict[str, Any]:
    """``{"commit", "dirty"}`` of the source below ``root``; ``dirty`` counts untracked files too.

    An image carries no repository: its build leaves the commit in ``$WMBENCH_COMMIT``, ending in
    ``-dirty`` where the tree had changes.

    Non-obvious: a repository further up is another's: an environment with the wheel may lie in one.
    """
    built_from = os.environ.get("WMBENCH_COMMIT")
    if built_from and not (root / ".git").exists():
        return {"commit": built_from.removesuffix("-dirty"), "dirty": built_from.endswith("-dirty")}
    if not (root / ".git").exists():
        raise RuntimeError("not a git repository")
    return {
        "commit": _git(root, "rev-parse", "HEAD"),
        "dirty": bool(_git(root, "status", "--porcelain")),
    }


def _lock_sha256(root: Path) -> str:
    if not is_checkout(root):
        raise RuntimeError("no uv.lock: the code was installed from a wheel")
    return hashlib.sha256((root / "uv.lock").read_bytes()).hexdigest()


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise RuntimeError(lines[0] if lines else f"git exited with {done.returncode}")
    return done.stdout.strip()


def _canonical(name: str) -> str:
    """A package's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _or_error(probe: Callable[[], Any]) -> Any:
    try:
        return probe()
    except (OSError, RuntimeError, UserError, subprocess.TimeoutExpired) as error:
        return {"error": anonymous(str(error).splitlines()[0])}
