"""Where a result comes from: source, locked packages, machine, renderer; a run's ``provenance.json``.

No secrets, user names or host names: environment variables are taken from a list, and paths below the home
folder are shortened.
"""

import datetime
import getpass
import hashlib
import json
import os
import platform
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from bench import hardware
from bench.code_version import code_sha256
from wmvla.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (
    "torch",
    "lerobot",
    "transformers",
    "mujoco",
    "robosuite",
    "hf-libero",
    "accelerate",
    "deepspeed",
    "numpy",
    "scipy",
    "opencv-python-headless",
    "lerobot_policy_smolvla_world",
)
ENVIRONMENT = (
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDA_VISIBLE_DEVICES",
    "DS_ACCELERATOR",
    "GALLIUM_DRIVER",
    "HF_HUB_OFFLINE",
    "HIP_VISIBLE_DEVICES",
    "HSA_OVERRIDE_GFX_VERSION",
    "LIBERO_CONFIG_PATH",
    "LIBGL_ALWAYS_SOFTWARE",
    "LP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "MUJOCO_EGL_DEVICE_ID",
    "MUJOCO_GL",
    "OMP_NUM_THREADS",
    "PYOPENGL_PLATFORM",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONHASHSEED",
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
    "PYTORCH_ROCM_ARCH",
    "ROCR_VISIBLE_DEVICES",
    "TORCH_EXTENSIONS_DIR",
    "WORLD_SIZE",
)
"""Variables that can change a number or a pixel."""


def collect(root: Path = ROOT) -> dict[str, Any]:
    """The provenance of what runs now, as JSON types. Takes 3 s: torch and OpenGL answer in child processes.

    What cannot be found out is ``{"error": one line}`` in its place: a run is not lost for want of a version.
    """
    return {
        "collected_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": anonymous(shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])),
        "git": _or_error(lambda: git_state(root)),
        "code_sha256": _or_error(lambda: code_sha256(root)),
        "uv_lock_sha256": _or_error(lambda: hashlib.sha256((root / "uv.lock").read_bytes()).hexdigest()),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "cpu": {
            "model": hardware.cpu_model(),
            "cores_usable": hardware.core_count(),
            "cores": psutil.cpu_count(),
            "memory_bytes": hardware.memory_bytes(),
        },
        "torch": _or_error(hardware.torch_build),
        "gpu_driver": hardware.driver_version(),
        "gl_renderer": _or_error(hardware.gl_renderer),
        "golden_frame_sha256": _or_error(hardware.golden_frame),
        "environment": {name: anonymous(os.environ[name]) for name in ENVIRONMENT if name in os.environ},
    }


def refuse_another_renderer(run_dir: Path) -> None:
    """UserError where the run in `run_dir` began with other frames than would be drawn here: another OpenGL or MuJoCo.

    Non-obvious: a shard, or a run that is continued, may be on another machine. Equal scenes drawn differently are not the same
    input, and no scene hash tells.
    """
    path = run_dir / "provenance.json"
    if not path.exists():
        return
    began = json.loads(path.read_text())
    here = {"gl_renderer": _or_error(hardware.gl_renderer), "mujoco": _version("mujoco")}
    there = {"gl_renderer": began.get("gl_renderer"), "mujoco": began.get("packages", {}).get("mujoco")}
    for what in here:
        if isinstance(there[what], str) and isinstance(here[what], str) and here[what] != there[what]:
            raise UserError(
                f"{path}: the run's frames are drawn with {what} '{there[what]}', here it is '{here[what]}'; "
                "play it where it began, or give another --results"
            )


def git_state(root: Path) -> dict[str, Any]:
    """``{"commit", "dirty"}`` of the source below ``root``; ``dirty`` counts untracked files too.

    An image carries no repository: its build leaves the commit in ``$WMBENCH_COMMIT``, ending in ``-dirty``
    where the tree had changes.
    """
    built_from = os.environ.get("WMBENCH_COMMIT")
    if built_from and not (root / ".git").exists():
        return {"commit": built_from.removesuffix("-dirty"), "dirty": built_from.endswith("-dirty")}
    return {
        "commit": _git(root, "rev-parse", "HEAD"),
        "dirty": bool(_git(root, "status", "--porcelain")),
    }


def anonymous(text: str) -> str:
    """``text`` with the home folder as ``~``, and without the names of this user and this host."""
    home = os.path.expanduser("~")  # noqa: PTH111  # unlike Path.home() it does not fail for an unnamed user
    if home not in ("/", "~"):
        text = re.sub(rf"{re.escape(home)}(?=/|$|[^\w.-])", "~", text)
    text = re.sub(r"/home/[^/\s:'\"]+", "/home/<user>", text)
    user = _user_name()
    if user not in ("", "root"):
        text = re.sub(rf"(?<=/){re.escape(user)}(?=/|$)", "<user>", text)
    host = socket.gethostname()
    if host and host != "localhost":
        text = re.sub(rf"(?<![\w.-]){re.escape(host)}(?![\w-])", "<host>", text)
    return text


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number without a name
        return ""


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 0:
        raise RuntimeError((done.stderr.strip().splitlines() or [f"git exited with {done.returncode}"])[0])
    return done.stdout.strip()


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
