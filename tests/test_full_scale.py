"""Full scale under its hub names, base to rollout, without network: tiny stand-ins lie where the
hub's cache has real ones."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import fake_hub

ROOT = Path(__file__).parents[1]
MINUTES = 60.0
SHRUNK = {
    "requires_gpu = true\n": "",
    "tasks = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]": "tasks = [0, 1]",
    "max_steps = 280": "max_steps = 12",
    "save_every = 1000": "save_every = 1",
}
"""What the real scale has, and what is played here. Names, image size, window and chunk stay."""


def environment(home: Path, project: Path = ROOT) -> dict[str, str]:
    """Of a process that sees that cache and no network: a try to use one fails at once."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if key not in ("PYTHONDONTWRITEBYTECODE", "HF_LEROBOT_HOME")
    }
    here = os.pathsep.join([str(project), str(project / "wmvla" / "plugin")])
    return {
        **kept,
        "HF_HOME": str(home),
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "PYTHONPATH": here,
        "OMP_NUM_THREADS": "1",
    }


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("hub") / "home"
    command = [sys.executable, "-m", "tests.fake_hub", str(home)]
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    subprocess.run(
        command,
        cwd=ROOT,
        env=environment(home) | offline,
        check=True,
        capture_output=True,
        timeout=10 * MINUTES,
    )
    return home


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this project whose full scale plays two tasks for a moment, on a CPU."""
    copy = tmp_path_factory.mktemp("project")
    for name in ("bench", "wmvla", "suites"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "uv.lock"):
        shutil.copy(ROOT / name, copy)
    suite = copy / "suites" / "core" / "suite.toml"
    before, full = suite.read_text().split("[scales.full]\n")
    for old, new in SHRUNK.items():
        assert full.count(old) == 1, old
        full = full.replace(old, new)
    suite.write_text(f"{before}[scales.full]\n{full}")
    return copy


def wmbench(project: Path, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "bench.cli",
        *arguments,
        "--scale=full",
        "--machine=cpu",
        "--offline",
    ]
    return subprocess.run(
        command,
        cwd=project,
        env=environment(home, project),
        capture_output=True,
        text=True,
        timeout=60 * MINUTES,
        check=False,
    )


def record(run_dir: Path, case: str) -> dict[str, Any]:
    return dict(json.loads((run_dir / "cases" / f"{case}.json").read_text()))


@pytest.mark.slow
def test_full_scale_runs_from_the_hub_cache_alone(hub: Path, project: Path) -> None:
    planned = wmbench(project, hub, "plan", "core")
    assert planned.returncode == 0, planned.stdout + planned.stderr
    assert "all files are there" in planned.stdout
    flags = ("--episodes=1", "--steps=2", "--batch-size=4")
    done = wmbench(project, hub, "run", "core", *flags, f"--results={project / 'results'}")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    (run_dir,) = (project / "results").glob("core-full-cpu-*")
    snapshot = (
        hub / "hub" / "models--HuggingFaceVLA--smolvla_libero" / "snapshots" / fake_hub.COMMIT
    )
    assert record(run_dir, "base")["artefacts"]["checkpoint"] == str(snapshot)
    frames = sum(fake_hub.FRAMES + episode for episode in range(fake_hub.EPISODES))
    assert (record(run_dir, "latents")["rows"], record(run_dir, "demonstrations")["frames"]) == (
        frames,
        frames,
    )
    images = record(run_dir, "demonstrations")["figures"]["images"]
    assert [(name, "as it is" in found) for name, found in images.items()] == [
        ("image", True),
        ("image2", True),
    ], images
    assert len(json.loads((run_dir / "provenance.json").read_text())["task_files"]) == 4
    latents = (
        project / "cache" / "HuggingFaceVLA" / "libero" / "train_world_latents_vjepa_m4.fp16.npy"
    )
    assert latents.is_file()
    for case in ("E0-none-s0", "E1-zero-s0", "E2-pred-s0", "E2-zero-s0", "E2-random-s0"):
        rows = [
            json.loads(line)
            for line in (run_dir / "episodes" / f"{case}.jsonl").read_text().splitlines()
        ]
        assert [(row["suite"], row["status"]) for row in rows] == [("libero_spatial", "ok")] * 2, (
            rows
        )
    trained = json.loads(
        next(
            (run_dir / "checkpoints" / "E2-train-s0").glob("*/pretrained_model/config.json")
        ).read_text()
    )
    assert (trained["vlm_model_name"], trained["world_vision_model_name"]) == (
        fake_hub.LANGUAGE_MODEL,
        fake_hub.ENCODER,
    )
    assert (run_dir / "report.html").is_file()
