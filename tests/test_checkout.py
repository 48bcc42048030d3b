"""A copied or moved checkout runs its own code, or none; `make setup` makes its environment its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from wmvla import checkout
from wmvla.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = Path(sys.executable).parent


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This checkout as ``cp -a`` leaves it: programs whose first line names this environment."""
    copy = tmp_path_factory.mktemp("copy")
    for name in ("bench", "wmvla", "suites"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("conftest.py", "pyproject.toml"):
        shutil.copy(ROOT / name, copy)
    (copy / ".venv/bin").mkdir(parents=True)
    shutil.copy(Path(sys.prefix, "pyvenv.cfg"), copy / ".venv")
    for name in ("wmbench", "pytest"):
        shutil.copy(SCRIPTS / name, copy / ".venv/bin")
    return copy


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize(
    "command",
    [
        (".venv/bin/wmbench", "plan", "core", "--scale=smoke", "--machine=cpu"),
        (".venv/bin/pytest", "suites/", "-k", "E2", "--collect-only"),
        (sys.executable, "-m", "bench.cli", "plan", "core", "--scale=smoke", "--machine=cpu"),
        (sys.executable, "-m", "pytest", "suites/", "-k", "E2", "--collect-only"),
    ],
    ids=lambda command: " ".join(Path(word).name for word in command[:3]),
)
def test_a_copied_checkout_does_not_run_the_code_of_the_other(
    copy: Path, command: tuple[str, ...]
) -> None:
    done = run(copy, *command)
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = (line for line in done.stderr.splitlines() if line)
    assert f"{copy}: its environment was made for the checkout {ROOT}" in line
    assert line.endswith(f"make -C {copy} setup")
    assert not (copy / "results").exists()


def test_a_link_to_this_checkout_is_this_checkout(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(ROOT)
    environment = Path(sys.prefix).relative_to(ROOT)
    done = run(link, str(link / environment / "bin/wmbench"), "history", "--help")
    assert done.returncode == 0, done.stderr
    done = run(link, str(link / environment / "bin/python"), "-m", "bench.cli", "history", "--help")
    assert done.returncode == 0, done.stderr


def test_a_wheel_has_no_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Wheel:
        def read_text(self, name: str) -> None:
            assert name == "direct_url.json"

    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setattr(checkout, "distribution", lambda name: Wheel())
    checkout.require_own_code(str(SCRIPTS / "wmbench"), tree=tmp_path)


def test_a_tree_in_pythonpath_is_wanted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    with pytest.raises(UserError):
        checkout.require_own_code(str(SCRIPTS / "wmbench"), tree=tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"/nowhere{os.pathsep}{tmp_path}")
    checkout.require_own_code(str(SCRIPTS / "wmbench"), tree=tmp_path)
