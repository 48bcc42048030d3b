"""Writers of bench on a disk that fails; run by ``test_writers``."""

import contextlib
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sealed_run import small_plan, unsealed_run

from bench.calibration.checks import Check
from bench.calibration.picture import draw_picture
from bench.compare.control_runs import write_controls
from bench.compare.import_lerobot import read_eval_info
from bench.plan.files import write_plan
from bench.record.external import write_external
from bench.record.privacy import hide_names
from bench.report.history.page import write_page
from bench.report.history.runs import read_history
from bench.report.write import write_report
from bench.run.output import printed_to
from bench.run.slurm import queue
from bench.run.slurm.jobs import Job
from bench.run.slurm.queue import submit
from bench.run.slurm.script import Site
from bench.share.pack import pack
from bench.share.pull import pull
from bench.verify.manifest import write_manifest
from tests.failing_disk import check
from wmvla.errors import UserError

PLAN = small_plan()
EVAL_INFO = Path(__file__).parents[1] / "resources" / "eval_info" / "stock_lerobot_0.6.1.json"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unsealed_run(tmp_path_factory.mktemp("finished") / "run", PLAN)


@pytest.fixture
def report(finished: Path):
    def writer(place: Path) -> Callable[[], object]:
        run_dir = shutil.copytree(finished, place / "run")
        (run_dir / "report.html").write_text("old")
        return lambda: write_report(run_dir)

    return writer


@pytest.fixture
def seal(finished: Path):
    def writer(place: Path) -> Callable[[], object]:
        run_dir = shutil.copytree(finished, place / "run")
        write_report(run_dir)
        return lambda: write_manifest(run_dir, ran=True)

    return writer


@pytest.fixture
def packed(original: Path):
    return lambda place: lambda: pack(original, place / "out" / "run.tar.gz", names=True)


@pytest.fixture
def packed_by_zstd(original: Path):
    """By a program beside this process, which meets the fault at its first call too."""
    if shutil.which("zstd") is None:
        pytest.skip("zstd is not installed")

    def writer(place: Path) -> Callable[[], object]:
        (place / "out").mkdir()  # or this process would meet each fault before the other
        return lambda: pack(original, place / "out" / "run.tar.zst", names=True)

    return writer


def imported(place: Path) -> Callable[[], object]:
    external = read_eval_info(EVAL_INFO, "E0-none")
    return lambda: write_external(external, place / "external" / "E0-none.json")


def log(place: Path) -> Callable[[], object]:
    """As `wmbench run`, whose standard output is a file or a terminal."""

    def do() -> None:
        with open(1, "w", closefd=False) as out, contextlib.redirect_stdout(out):
            before, kept = os.fstat(1), os.dup(1)
            try:
                with printed_to(place / "logs" / "E0-none-s0.log"):
                    print(f"it is {time.time_ns()} o'clock")
            finally:
                if not os.path.samestat(os.fstat(1), before):
                    os.dup2(kept, 1)
                    pytest.fail("what is printed from now on goes into the log")

    return do


def picture(place: Path) -> Callable[[], object]:
    path, check = (
        place / "calibration.png",
        Check("exact", "coverage", "a", "b", 0.9, None, 0.8, 1.0, True),
    )
    path.write_bytes(b"old")
    return lambda: draw_picture([check], "title", path)


@pytest.fixture
def pulled(original: Path):
    return lambda place: lambda: pull(str(original), place / "here")


@pytest.fixture
def history(finished: Path):
    found = read_history(finished.parent)
    return lambda place: lambda: write_page(found, place / "history.html")


@pytest.fixture
def controls(finished: Path):
    return lambda place: lambda: write_controls(PLAN, place)


def plan(place: Path) -> Callable[[], object]:
    return lambda: write_plan(PLAN, place / "run")


@pytest.fixture
def hidden(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("bench.record.privacy.anonymous", lambda text: text.replace("me", "<user>"))

    def writer(place: Path) -> Callable[[], object]:
        for name in ("a.log", "b.log"):
            (place / name).write_text("it is me\n" * 900)
        return lambda: hide_names(sorted(place.iterdir()))

    return writer


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch):
    """As many are cancelled as were submitted before the fault."""
    asked: list[str] = []
    monkeypatch.setattr(queue, "_output_of", lambda command: asked.append(command[0]) or "7")

    def writer(place: Path) -> Callable[[], object]:
        site = Site(place / "run", ("core",), place, "python", "cpu")

        def do() -> None:
            asked.clear()
            try:
                submit(site, [Job("base", ("base",)), Job("E0", ("E0",), ("base",))])
            except UserError:
                assert ("sbatch" in asked) == ("scancel" in asked)
                raise

        return do

    return writer


WRITERS = {
    "plan": plan,
    "imported": imported,
    "log": log,
    "picture": picture,
    **dict.fromkeys(
        (
            "report",
            "seal",
            "packed",
            "packed_by_zstd",
            "pulled",
            "history",
            "controls",
            "hidden",
            "jobs",
        )
    ),
}


def resumes(name: str) -> bool:
    """Whether the next call goes on with it, or writes it anew."""
    return name.startswith(("here/.pull", "logs/")) or name == "run/slurm/jobs.json"


@pytest.mark.parametrize("fault", ["broken", "full", "short"])
@pytest.mark.parametrize("name", WRITERS)
def test_a_writer(name: str, fault: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    check(WRITERS[name] or request.getfixturevalue(name), fault, tmp_path, resumes)
