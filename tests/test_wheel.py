"""The built wheel in an environment that does not see the checkout: all files are inside, and it
plans and runs."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from bench.plan.make import resolve_plan

ROOT = Path(__file__).parents[1]
PACKAGES = ("bench", "suites", "wmvla")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by the project's own backend, as ``uv build --wheel`` does, and without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT, check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel. Its other packages are those of this
    environment, which are 7 GB."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    venv.create(folder, with_pip=False, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as content:
        content.extractall(site)
    # Only the folder: the line in it that leads to the checkout is not read.
    (site / "others.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return folder / "bin" / "python"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder of somebody who has the wheel and no checkout."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


def run(python: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    unwanted = ("PYTHONPATH", "LIBERO_CONFIG_PATH", "WMBENCH_COMMIT")
    environment = {name: value for name, value in os.environ.items() if name not in unwanted}
    return subprocess.run(
        [str(python), *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip


def test_every_file_of_the_packages_is_inside(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    } - {"wmvla/plugin/lerobot_policy_smolvla_world.py"}
    assert not wanted - inside
    assert "lerobot_policy_smolvla_world.py" in inside
    for name in (
        "suites/core/suite.toml",
        "bench/plan/machines/cpu.toml",
        "bench/report/templates/report.html.j2",
        "bench/record/published/smolvla_paper.json",
        "bench/py.typed",
        "wmvla/py.typed",
    ):
        assert name in inside
    assert not [name for name in inside if name.startswith(("tests/", "results/", "docs/"))]


def test_it_plans_in_any_folder(python: Path, elsewhere: Path) -> None:
    done = run(
        python, elsewhere, "-m", "bench.cli", "plan", "core", "--scale=smoke", "--machine=cpu"
    )
    assert done.returncode == 0, done.stderr
    assert resolve_plan("core", "smoke", "cpu").run_name in done.stdout
    assert str(ROOT) not in done.stdout
    code = "import bench, suites, wmvla; from bench.commands.options import RESULTS; print(RESULTS)"
    code += "; print(bench.__file__, wmvla.__file__, *suites.__path__)"
    told = run(python, elsewhere, "-c", code).stdout.split()
    assert told[0] == str(elsewhere / "results")
    site = python.parents[1] / "lib"
    assert all(Path(path).is_relative_to(site) for path in told[1:]), told


@pytest.mark.slow  # minutes; that a checkout runs, and that a wheel plans, is seen by default tests
def test_it_runs_to_its_report(python: Path, elsewhere: Path) -> None:
    done = run(python, elsewhere, "-m", "bench.cli", "run", "core", "--scale=smoke")
    assert done.returncode == 0, done.stdout + done.stderr
    (run_dir,) = (elsewhere / "results").glob("core-smoke-*")
    assert (run_dir / "report.html").is_file()
    assert (elsewhere / "cache").is_dir()
    provenance = json.loads((run_dir / "provenance.json").read_text())
    assert "no uv.lock" in provenance["uv_lock_sha256"]["error"]
    assert "not a git repository" in provenance["git"]["error"]
    assert len(provenance["code_sha256"]) == 64

    items = run(
        python, elsewhere, "-m", "pytest", "--pyargs", "suites", "--scale=smoke", "-k", "E2", "-q"
    )
    assert items.returncode == 0, items.stdout + items.stderr
    shutil.rmtree(elsewhere)
