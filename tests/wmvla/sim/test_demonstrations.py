"""Demonstrations: killed and continued, they are those of an uninterrupted run."""

import dataclasses
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pyarrow.parquet as parquet
import pytest
from lerobot.datasets.lerobot_dataset import LeRobotDataset

from wmvla.errors import UserError
from wmvla.recipe import Demonstrations, Environment
from wmvla.sim.demonstrations import make_demonstrations, record_episode
from wmvla.sim.libero.env import LiberoSimulation
from wmvla.sim.suites import sentence
from wmvla.watch.children import lives

ENVIRONMENT = Environment("libero_object", (7,), image_size=32, max_steps=200)
DEMONSTRATIONS = Demonstrations("local/test", "expert", inits=(0, 30))
CATCH = Environment("control_catch", (0,), image_size=32, max_steps=24)
CAUGHT = Demonstrations("local/test", "expert", inits=tuple(range(80)), push_strength=0.0)
"""Episodes take so little that many are needed for a kill between two."""
DEADLINE = 240
CHILD = """
import sys
from pathlib import Path
from wmvla.recipe import Demonstrations, Environment
from wmvla.sim.demonstrations import make_demonstrations

if __name__ == "__main__":
    make_demonstrations({environment}, {demonstrations}, Path(sys.argv[1]), workers=1)
"""


def _kill_after_first_episode(
    folder: Path, environment: Environment, demonstrations: Demonstrations
) -> int:
    """Start the child, kill -9 it once its first episode is on disk, and see its worker leave too;
    episodes on disk."""
    script = folder.with_name("child.py")
    script.write_text(CHILD.format(environment=environment, demonstrations=demonstrations))
    staging = folder.with_name(f"{folder.name}.staging")
    with subprocess.Popen(
        [sys.executable, str(script), str(folder)], stderr=subprocess.DEVNULL
    ) as child:
        deadline = time.monotonic() + DEADLINE
        while not list(staging.glob("*.npz")):
            assert child.poll() is None, "it ended by itself"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        workers = psutil.Process(child.pid).children(recursive=True)
        assert workers
        child.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while any(map(lives, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not folder.exists()
    return len(list(staging.glob("*.npz")))


def _content(folder: Path) -> dict[str, object]:
    """Every file by its relative path: tables without the random fingerprint in their metadata, the
    rest as bytes."""
    return {
        str(file.relative_to(folder)): parquet.read_table(file).replace_schema_metadata(None)
        if file.suffix == ".parquet"
        else file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


@pytest.mark.parametrize(
    ("environment", "demonstrations"),
    # That LIBERO's episodes depend on nothing before them, and that training reads them, has
    # default tests of its own.
    [
        pytest.param(ENVIRONMENT, DEMONSTRATIONS, marks=pytest.mark.slow, id="LIBERO"),
        pytest.param(CATCH, CAUGHT, id="catch"),
    ],
)
def test_killed_and_continued_equals_uninterrupted(
    tmp_path: Path, environment: Environment, demonstrations: Demonstrations
) -> None:
    interrupted, uninterrupted = tmp_path / "interrupted", tmp_path / "uninterrupted"
    done_before = _kill_after_first_episode(interrupted, environment, demonstrations)
    total, task = len(demonstrations.inits), environment.tasks[0]
    assert 1 <= done_before < total
    staging = tmp_path / "interrupted.staging"
    kept = {path: path.stat().st_mtime_ns for path in staging.glob("*.npz")}
    seen: list[tuple[int, int]] = []
    (staging / f"task{task:03}-init{demonstrations.inits[-1]:03}.npz.1").write_bytes(
        b"cut off in the middle"
    )

    def progress(done: int, total: int) -> None:
        seen.append((done, total))
        assert {path: path.stat().st_mtime_ns for path in kept} == kept

    assert (
        make_demonstrations(environment, demonstrations, interrupted, workers=1, progress=progress)
        == interrupted
    )
    assert seen == [(done, total) for done in range(done_before, total + 1)]
    make_demonstrations(environment, demonstrations, uninterrupted, workers=2)
    assert _content(interrupted) == _content(uninterrupted)
    assert {path.name for path in tmp_path.iterdir()} == {
        "interrupted",
        "uninterrupted",
        "child.py",
    }

    # Finished: returned at once, and nobody else's settings are taken for it.
    before = time.monotonic()
    make_demonstrations(environment, demonstrations, interrupted, workers=2)
    assert time.monotonic() - before < 1
    other = dataclasses.replace(demonstrations, inits=(0, 31))
    with pytest.raises(UserError, match=r"other settings \(demonstrations.inits\): delete it"):
        make_demonstrations(environment, other, interrupted, workers=1)
    _assert_is_what_was_played(interrupted, environment, demonstrations)


def _assert_is_what_was_played(
    folder: Path, environment: Environment, demonstrations: Demonstrations
) -> None:
    """Stock LeRobot reads it."""
    dataset = LeRobotDataset("local/test", root=folder)
    manifest = json.loads((folder / "meta" / "expert.json").read_text())
    (task,) = environment.tasks
    assert [(e["task"], e["init"]) for e in manifest["episodes"]] == [
        (task, init) for init in demonstrations.inits
    ]
    assert len(dataset) == sum(e["frames"] for e in manifest["episodes"])
    assert dataset.fps == 20
    last = dataset[len(dataset) - 1]
    assert last["task"] == sentence(environment, task)
    if environment is ENVIRONMENT:
        assert last["observation.state"].shape == (8,)
        assert last["action"].shape == (7,)
        assert last["action"][6] == -1
    camera = dataset.meta.camera_keys[0]
    images = np.stack([dataset[t][camera].numpy() for t in range(0, len(dataset), 40)])
    assert images.shape[1:] == (3, 32, 32)
    assert images.std(axis=0).max() > 0.1


def test_an_expert_that_fails_is_named(
    tmp_path: Path,
    open_simulation: Callable[[str, int], LiberoSimulation],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    simulation = open_simulation("libero_object", 7)
    monkeypatch.setattr("wmvla.sim.libero.recording.STEP_LIMIT", 5)
    with pytest.raises(UserError, match=r"libero_object task 7 from initial state 3 in 8 attempts"):
        record_episode(
            simulation.environment, simulation, DEMONSTRATIONS, 3, tmp_path / "episode.npz"
        )
    assert not list(tmp_path.iterdir())


def test_no_initial_states_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"demonstrations\.inits is empty"):
        make_demonstrations(ENVIRONMENT, Demonstrations("x", "expert"), tmp_path / "x", workers=1)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(UserError, match=r"exists already and was not made by the expert"):
        make_demonstrations(ENVIRONMENT, DEMONSTRATIONS, tmp_path / "x", workers=1)
