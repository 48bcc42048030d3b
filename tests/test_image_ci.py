"""When continuous integration builds the images, and when it says why it does not."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.test_containers import ROOT, program


def test_all_three_continuous_integrations_know_what_an_image_is_made_of() -> None:
    listed = re.search(
        r"^made_of=\((.*?)\)", (ROOT / ".ci/images").read_text(), re.MULTILINE | re.DOTALL
    )
    assert listed
    made_of = set(listed[1].split())
    assert not {path for path in made_of if not (ROOT / path).exists()}
    workflow = yaml.safe_load((ROOT / ".github/workflows/images.yml").read_text())
    # YAML 1.1 takes the key `on` for true.
    pushed, asked = (workflow[True][event]["paths"] for event in ("push", "pull_request"))
    assert pushed == asked
    (rule,) = yaml.safe_load((ROOT / ".gitlab-ci.yml").read_text())["images"]["rules"]
    assert {path.removesuffix("/**") for path in pushed} - {
        ".github/workflows/images.yml"
    } == made_of
    assert {path.removesuffix("/**/*") for path in rule["changes"]} == made_of


def images_script(
    folder: Path, environment: dict[str, str], timeout: int
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", ".ci/images"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("no origin", "there is no origin/main to compare with"),
        ("unchanged", "nothing that they are made of differs from origin/main"),
        ("elsewhere", "a job of its own does it here"),
    ],
)
def test_images_are_not_built_for_nothing(tmp_path: Path, state: str, said: str) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/images", tmp_path / ".ci")
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    commands = [
        ["init", "--quiet", "--initial-branch=main"],
        ["add", ".ci"],
        [*who, "commit", "--quiet", "--message=a"],
    ]
    if state != "no origin":
        commands.append(["update-ref", "refs/remotes/origin/main", "HEAD"])
    for command in commands:
        subprocess.run(["git", *command], cwd=tmp_path, check=True, timeout=30)
    environment = {
        "PATH": os.environ["PATH"],
        **({"GITLAB_CI": "true"} if state == "elsewhere" else {}),
    }
    done = images_script(tmp_path, environment, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"images: not built: {said}\n", "")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (0, "building\n"),
        (124, "building\nimages: not built: it took more than 15 minutes .*\n"),
        (1, "building\n"),
    ],
)
def test_a_changed_containerfile_builds_the_images(tmp_path: Path, code: int, said: str) -> None:
    """With a fake build, as root on a machine that may make namespaces; elsewhere one line says why
    not."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/images", tmp_path / ".ci")
    (tmp_path / "Containerfile.rocm").touch()
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parents[1])
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (
        ["init", "--quiet", "--initial-branch=main"],
        ["add", "Containerfile.rocm"],
        [*who, "commit", "--quiet", "--message=a"],
        ["update-ref", "refs/remotes/origin/main", "HEAD"],
    ):
        subprocess.run(["git", *command], cwd=tmp_path, check=True, timeout=30)
    (tmp_path / "Containerfile.rocm").write_text("FROM nothing\n")
    for name in ("podman", "buildah", "runc", "mmdebstrap"):
        program(tmp_path / "bin", name, "exit 0")
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "test_images.sh").write_text(f"echo building\nexit {code}\n")
    environment = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    done = images_script(tmp_path, environment, timeout=60)
    assert done.stderr == ""
    if not re.fullmatch(
        r"images: not built: (it takes root|root may make no .*|archive.ubuntu.com cannot .*)\n",
        done.stdout,
    ):
        assert (done.returncode, bool(re.fullmatch(said, done.stdout))) == (
            code if code == 1 else 0,
            True,
        ), done.stdout
