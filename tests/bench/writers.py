"""Writers of bench on a disk that fails; run by ``test_writers``."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from sealed_run import small_plan, unsealed_run

from bench.compare.control_runs import write_controls
from bench.plan.files import write_plan
from bench.record.privacy import hide_names
from bench.report.history.page import write_page
from bench.report.history.runs import read_history
from bench.report.write import write_report
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
    **dict.fromkeys(
        ("report", "seal", "packed", "pulled", "history", "controls", "hidden", "jobs")
    ),
}


def resumes(name: str) -> bool:
    """Whether the next call goes on with it, or writes it anew."""
    return name.startswith("here/.pull") or name == "run/slurm/jobs.json"


@pytest.mark.parametrize("fault", ["broken", "full", "short"])
@pytest.mark.parametrize("name", WRITERS)
def test_a_writer(name: str, fault: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    check(WRITERS[name] or request.getfixturevalue(name), fault, tmp_path, resumes)
