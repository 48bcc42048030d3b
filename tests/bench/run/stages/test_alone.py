"""Two runs that need one thing of the cache: one makes it, the other waits and finds it
finished."""

import json
import os
import signal
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench.plan.cases import Case
from bench.plan.make import resolve_plan
from bench.run.stages import base, demonstrations
from bench.run.stages.alone import alone
from bench.run.stages.context import Context
from wmvla.errors import UserError

MAKING_SECONDS = 1.5
FORK = get_context("fork")
"""The children need what is imported already, which would cost each 6 s, and only sleep and
write."""
pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")


@pytest.fixture
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dataset and a training that take their time and fail where the thing is there by then."""

    def make(thing: Path) -> Path:
        with (tmp_path / "made").open("a") as made:
            made.write(f"{os.getpid()}\n")
        time.sleep(MAKING_SECONDS)
        thing.mkdir(parents=True)
        return thing

    def train(context: Context, job: Any) -> dict[str, Any]:
        folder = Path(job.checkpoints)
        if not (folder / "finished").exists():
            (make(folder) / "finished").write_text("")
        return {"artefacts": {}}

    monkeypatch.setattr(
        "wmvla.sim.demonstrations.make_demonstrations", lambda *given, **named: make(given[2])
    )
    monkeypatch.setattr("wmvla.data.opening.open_metadata", lambda root, repo_id: Metadata(root))
    monkeypatch.setattr(base, "run_job", train)


class Metadata:
    total_episodes = total_frames = 1

    def __init__(self, root: Path) -> None:
        self.root = root


def stages(tmp_path: Path, suite: str, ready: Any) -> None:
    """What a run of that suite does first, as soon as both are `ready`; its lines and its end go to
    a file."""
    lines: list[str] = []
    context = Context(
        resolve_plan(suite, "smoke", "cpu"), tmp_path / "results" / suite, lines.append
    )
    ready.wait()
    demonstrations.run(context, Case("demonstrations", "demonstrations"))
    base.run(context, Case("base", "base"))
    (tmp_path / f"{suite}.json").write_text(json.dumps(lines))


def test_two_suites_started_together_make_each_thing_once(tmp_path: Path, fakes: None) -> None:
    ready = FORK.Barrier(2, timeout=60)
    runs = [
        FORK.Process(target=stages, args=(tmp_path, suite, ready), daemon=True)
        for suite in ("core", "fusion")
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join(timeout=60)
    assert [run.exitcode for run in runs] == [0, 0]
    assert len((tmp_path / "made").read_text().splitlines()) == 2, "one dataset and one base policy"
    told = [
        line
        for suite in ("core", "fusion")
        for line in json.loads((tmp_path / f"{suite}.json").read_text())
    ]
    assert any(
        "waiting for another run that makes" in line and str(tmp_path / "cache") in line
        for line in told
    )


def hold(thing: Path, seconds: float) -> None:
    with alone(thing, "base", lambda line: None):
        (thing.parent / "held").write_text("")
        time.sleep(seconds)


def wait_until_held(thing: Path) -> None:
    for _ in range(600):
        if (thing.parent / "held").exists():
            return
        time.sleep(0.05)
    raise AssertionError("never held")


def test_a_killed_holder_lets_go(tmp_path: Path) -> None:
    holder = FORK.Process(target=hold, args=(tmp_path / "thing", 300), daemon=True)
    holder.start()
    wait_until_held(tmp_path / "thing")
    told: list[str] = []

    def kill(line: str) -> None:
        told.append(line)
        assert holder.pid is not None
        os.kill(holder.pid, signal.SIGKILL)

    with alone(tmp_path / "thing", "base", kill):
        pass
    holder.join()
    assert told == [
        f"  base            waiting for another run that makes {tmp_path / 'thing'} (0 min so far)"
    ]


def test_a_child_of_a_killed_holder_does_not_hold(tmp_path: Path) -> None:
    """It may hang for ever, and nobody would ever get the lock."""

    def run() -> None:
        with alone(tmp_path / "thing", "base", lambda line: None):
            if not os.fork():
                (tmp_path / "child").write_text(str(os.getpid()))
                (tmp_path / "held").touch()
            time.sleep(60)

    holder = FORK.Process(target=run, daemon=True)
    holder.start()
    wait_until_held(tmp_path / "thing")
    holder.kill()
    holder.join()
    child = psutil.Process(int((tmp_path / "child").read_text()))
    try:
        with alone(tmp_path / "thing", "base", pytest.fail):  # which a wait would call
            assert child.status() == psutil.STATUS_SLEEPING
    finally:
        child.kill()


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match=r"cannot be locked: .*; make the cache folder writable"),
        alone(tmp_path / "file" / "thing", "base", print),
    ):
        pass
