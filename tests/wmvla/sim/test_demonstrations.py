"""Demonstrations in real LIBERO: killed and continued, they are those of an uninterrupted run."""

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
from wmvla.sim import demonstrations as module
from wmvla.sim.demonstrations import make_demonstrations, record_episode
from wmvla.sim.libero.env import LiberoSimulation

ENVIRONMENT = Environment("libero_object", (7,), image_size=32, max_steps=200)
DEMONSTRATIONS = Demonstrations("local/test", "expert", inits=(0, 30))
DEADLINE = 240
CHILD = """
import sys
from pathlib import Path
from wmvla.recipe import Demonstrations, Environment
from wmvla.sim.demonstrations import make_demonstrations

if __name__ == "__main__":
    make_demonstrations(
        Environment("libero_object", (7,), image_size=32, max_steps=200),
        Demonstrations("local/test", "expert", inits=(0, 30)),
        Path(sys.argv[1]),
        workers=1,
    )
"""


def _kill_after_first_episode(folder: Path) -> None:
    """Start the child, kill -9 it once its first episode is on disk, and see its worker leave too."""
    script = folder.with_name("child.py")
    script.write_text(CHILD)
    staging = folder.with_name(f"{folder.name}.staging")
    with subprocess.Popen([sys.executable, str(script), str(folder)], stderr=subprocess.DEVNULL) as child:
        deadline = time.monotonic() + DEADLINE
        while not list(staging.glob("*.npz")):
            assert child.poll() is None, "it ended by itself"
            assert time.monotonic() < deadline
            time.sleep(0.1)
        workers = psutil.Process(child.pid).children(recursive=True)
        assert workers
        child.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive
    assert len(list(staging.glob("*.npz"))) == 1
    assert not folder.exists()


def _content(folder: Path) -> dict[str, object]:
    """Every file by its relative path: tables without the random fingerprint in their metadata, the rest as bytes."""
    return {
        str(file.relative_to(folder)): parquet.read_table(file).replace_schema_metadata(None)
        if file.suffix == ".parquet"
        else file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def test_killed_and_continued_equals_uninterrupted(tmp_path: Path) -> None:
    interrupted, uninterrupted = tmp_path / "interrupted", tmp_path / "uninterrupted"
    _kill_after_first_episode(interrupted)
    kept = (tmp_path / "interrupted.staging" / "task007-init000.npz").stat().st_mtime_ns
    seen: list[tuple[int, int]] = []
    (tmp_path / "interrupted.staging" / "task007-init030.npz.1").write_bytes(b"cut off in the middle")

    def progress(done: int, total: int) -> None:
        seen.append((done, total))
        assert (tmp_path / "interrupted.staging" / "task007-init000.npz").stat().st_mtime_ns == kept

    assert make_demonstrations(ENVIRONMENT, DEMONSTRATIONS, interrupted, workers=1, progress=progress) == interrupted
    assert seen == [(1, 2), (2, 2)]
    make_demonstrations(ENVIRONMENT, DEMONSTRATIONS, uninterrupted, workers=2)
    assert _content(interrupted) == _content(uninterrupted)
    assert {path.name for path in tmp_path.iterdir()} == {"interrupted", "uninterrupted", "child.py"}

    # Finished: returned at once, and nobody else's settings are taken for it.
    before = time.monotonic()
    make_demonstrations(ENVIRONMENT, DEMONSTRATIONS, interrupted, workers=2)
    assert time.monotonic() - before < 1
    other = dataclasses.replace(DEMONSTRATIONS, inits=(0, 31))
    with pytest.raises(UserError, match=r"other settings \(demonstrations.inits\): delete it"):
        make_demonstrations(ENVIRONMENT, other, interrupted, workers=1)
    _assert_is_what_was_played(interrupted)


def _assert_is_what_was_played(folder: Path) -> None:
    """Stock LeRobot reads it, and playing its states' episode again shows its frames."""
    dataset = LeRobotDataset("local/test", root=folder)
    manifest = json.loads((folder / "meta" / "expert.json").read_text())
    assert [(e["task"], e["init"]) for e in manifest["episodes"]] == [(7, 0), (7, 30)]
    assert len(dataset) == sum(e["frames"] for e in manifest["episodes"])
    assert dataset.fps == 20
    last = dataset[len(dataset) - 1]
    assert last["task"] == "pick up the milk and place it in the basket"
    assert last["observation.state"].shape == (8,)
    assert last["action"].shape == (7,)
    assert last["action"][6] == -1
    images = np.stack([dataset[t]["observation.images.image"].numpy() for t in range(0, len(dataset), 40)])
    assert images.shape[1:] == (3, 32, 32)
    assert images.std(axis=0).max() > 0.1


def test_an_expert_that_fails_is_named(
    tmp_path: Path, open_simulation: Callable[[str, int], LiberoSimulation], monkeypatch: pytest.MonkeyPatch
) -> None:
    simulation = open_simulation("libero_object", 7)
    monkeypatch.setitem(module._simulations, (simulation.environment, 7), simulation)
    monkeypatch.setattr("wmvla.sim.libero.recording.STEP_LIMIT", 5)
    with pytest.raises(UserError, match=r"libero_object task 7 from initial state 3 in 8 attempts"):
        record_episode(simulation.environment, DEMONSTRATIONS, 7, 3, tmp_path / "episode.npz")
    assert not list(tmp_path.iterdir())


def test_no_initial_states_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"demonstrations\.inits is empty"):
        make_demonstrations(ENVIRONMENT, Demonstrations("x", "expert"), tmp_path / "x", workers=1)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(UserError, match=r"is in the way"):
        make_demonstrations(ENVIRONMENT, DEMONSTRATIONS, tmp_path / "x", workers=1)
