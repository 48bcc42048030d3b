"""The whole experiment at smoke scale, as a user starts it: real LIBERO, real SmolVLA and V-JEPA 2,
nothing from a hub."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bench import cli
from bench.plan.make import resolve_plan

ROOT = Path(__file__).parents[1]
MINUTES = 60.0
ROLLOUTS = ("E0-none-s0", "E1-zero-s0", "E2-pred-s0", "E2-zero-s0", "E2-random-s0")


def wmbench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench.cli", *arguments]
    environment = {
        key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"
    }
    return subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=15 * MINUTES,
        check=False,
    )


def pytest_suites(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "suites/", "--scale", "smoke", *arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=10 * MINUTES, check=False
    )


def run_dir_in(results: Path) -> Path:
    """The one run directory below ``results``."""
    (found,) = results.glob("core-smoke-*")
    return found


def episodes(run_dir: Path, case: str) -> list[dict[str, Any]]:
    """A journal in table order, without its clock."""
    rows = [
        json.loads(line)
        for line in (run_dir / "episodes" / f"{case}.jsonl").read_text().splitlines()
    ]
    timeless = [
        {key: value for key, value in row.items() if key not in ("seconds", "cpu_seconds")}
        for row in rows
    ]
    return sorted(timeless, key=lambda row: row["index"])


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Holds several results folders and, beside them, the cache that they share."""
    return tmp_path_factory.mktemp("smoke")


@pytest.fixture(scope="module")
def smoke(place: Path) -> tuple[Path, subprocess.CompletedProcess[str]]:
    results = place / "results"
    done = wmbench("run", "core", "--scale", "smoke", "--results", str(results))
    assert done.returncode == 0, done.stdout + done.stderr
    return run_dir_in(results), done


def test_the_command_that_was_given_is_recorded(smoke):
    run_dir, _ = smoke
    told = json.loads((run_dir / "provenance.json").read_text())["command"]
    assert told.startswith("wmbench run core --scale smoke --results ")


def test_smoke_runs_every_stage_and_refuses_to_conclude(smoke):
    run_dir, done = smoke
    verdict, where = done.stdout.strip().splitlines()[-2:]
    assert "INCONCLUSIVE: nothing can be concluded at scale smoke" in verdict
    assert where == f"report: {run_dir / 'report.html'}"
    report = json.loads((run_dir / "report.json").read_text())
    assert report["verdict"]["decision"] == "INCONCLUSIVE"
    assert "Nothing can be concluded at scale smoke" in (run_dir / "report.html").read_text()
    assert all(
        f"{case}   " in done.stdout for case in ("demonstrations", "E0-train-s0", "E2-pred-s0")
    )  # progress


def test_all_rollouts_play_one_table_from_the_same_scenes(smoke):
    run_dir, _ = smoke
    plan = json.loads((run_dir / "plan.json").read_text())
    tables = {case: episodes(run_dir, case) for case in ROLLOUTS}
    for case, rows in tables.items():
        assert [row["status"] for row in rows] == ["ok", "ok"], rows
        assert {row["case"] for row in rows} == {case}
        for row, planned in zip(rows, plan["episodes"], strict=True):
            assert {key: row[key] for key in planned} == planned
    scenes = {tuple(row["scene_hash"] for row in rows) for rows in tables.values()}
    assert len(scenes) == 1
    # Two cameras at each of two queries; with predicted memory also the front frames before the
    # second.
    assert {case: rows[0]["renders"] for case, rows in tables.items()} == {
        **dict.fromkeys(ROLLOUTS, 4),
        "E2-pred-s0": 4 + 6,
    }


def test_world_arms_are_replayed_on_what_was_held_out(smoke):
    run_dir, _ = smoke
    report = json.loads((run_dir / "report.json").read_text())
    assert [(replay["case"], replay["episodes"]) for replay in report["replays"]] == [
        ("E1-replay-s0", 1),
        ("E2-replay-s0", 1),
    ]
    assert "Prophet on held-out demonstrations" in (run_dir / "report.html").read_text()
    datasets = {
        json.loads((run_dir / "cases" / f"{case}.json").read_text())["artefacts"]["dataset"]
        for case in ("demonstrations", "held-out")
    }
    assert len(datasets) == 2


def test_the_same_command_again_redoes_nothing(smoke, place):
    run_dir, _ = smoke
    files = {
        path: path.stat().st_mtime_ns
        for folder in ("cases", "episodes")
        for path in (run_dir / folder).iterdir()
    }
    report = (run_dir / "report.html").read_bytes()
    again = wmbench("run", "core", "--scale", "smoke", "--results", str(place / "results"))
    assert again.returncode == 0, again.stdout
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert (run_dir / "report.html").read_bytes() == report


def take_records(smoke: Path, run_dir: Path, pattern: str) -> None:
    """The records of cases of an earlier run: a run of the same parts need not do them again."""
    (run_dir / "cases").mkdir(parents=True, exist_ok=True)
    for record in (smoke / "cases").glob(pattern):
        shutil.copy(record, run_dir / "cases")


def run_dir_of(results: Path, suite: str) -> Path:
    """Where a run that has not begun will be."""
    return results / resolve_plan(suite, "smoke", None).run_name


@pytest.mark.slow
def test_one_arm_of_the_memory_suite_is_trained_played_and_replayed_with_what_it_needs_and_nothing_else(
    place, smoke
):
    """`-k H`: its memory is the past. Demonstrations, base, latents and what is held out are those
    of core."""
    results = place / "memory"
    run_dir = run_dir_of(results, "memory")
    take_records(smoke[0], run_dir, "wiring-*.json")
    done = pytest_suites("--suite", "memory", "-k", "H", "--results", str(results))
    assert done.returncode == 0, done.stdout
    cases = {
        path.stem for path in (run_dir / "cases").iterdir() if not path.stem.startswith("wiring-")
    }
    assert cases == {
        "demonstrations",
        "base",
        "latents",
        "held-out",
        "H-train-s0",
        "H-history-s0",
        "H-replay-s0",
    }
    rows = episodes(run_dir, "H-history-s0")
    assert [row["renders"] for row in rows] == [
        row["renders"] for row in episodes(smoke[0], "E2-pred-s0")
    ]
    replay = json.loads((run_dir / "cases" / "H-replay-s0.json").read_text())
    assert set(replay["action_error"]) == {"pred", "zero", "random", "hold", "oracle", "history"}
    assert (
        json.loads((run_dir / "cases" / "latents.json").read_text())["artefacts"]
        == (json.loads((smoke[0] / "cases" / "latents.json").read_text())["artefacts"])
    )


TRIPPED = """
import sys, types
from collections import namedtuple

class WiringError(RuntimeError):
    pass

def gate(inputs):
    {outcome}

fake = types.ModuleType("wmvla.wiring")
fake.WiringInputs = namedtuple("WiringInputs", "base dataset_root dataset_repo_id world device seed")
fake.CHECKS, fake.WiringError = {{"gate": gate}}, WiringError
sys.modules["wmvla.wiring"] = fake
"""


def test_a_tripwire_stops_the_run_before_anything_is_trained_and_the_same_command_checks_again(
    place, smoke, tmp_path, monkeypatch, capsys
):
    """With a made-up check of the gate, first one that fails. What comes before it is done."""
    results = place / "tripped"
    run_dir = run_dir_of(results, "core")
    for case in ("demonstrations", "base", "latents"):
        take_records(smoke[0], run_dir, f"{case}.json")
    shutil.copy(smoke[0] / "provenance.json", run_dir)  # each record holds its sum
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))
    fake = tmp_path / "sitecustomize.py"
    fake.write_text(TRIPPED.format(outcome='raise WiringError("the gate gets no gradient")'))
    assert cli.main(["run", "core", "--scale=smoke", f"--results={results}"]) == 1
    printed = capsys.readouterr()
    assert printed.err.strip().splitlines()[-1] == "error: wiring-gate: the gate gets no gradient"
    assert "Traceback" not in printed.out + printed.err
    assert not (run_dir / "checkpoints").exists()
    assert {path.stem for path in (run_dir / "cases").iterdir()} == {
        "demonstrations",
        "base",
        "latents",
    }
    (record,) = (run_dir / "failures").iterdir()
    assert json.loads(record.read_text())["error"] == "wiring-gate: the gate gets no gradient"

    fake.write_text(TRIPPED.format(outcome='return {"gradient": 1.0}'))
    again = pytest_suites("-k", "wiring-gate", "--results", str(results))
    assert again.returncode == 0, again.stdout
    assert (run_dir / "cases" / "wiring-gate.json").exists()


def test_killed_rollouts_continue_to_the_uninterrupted_table(place, smoke):
    """In a copy of the run in which nobody has played E0 yet."""
    results = place / "killed"
    run_dir = Path(shutil.copytree(smoke[0], results / smoke[0].name))
    journal = run_dir / "episodes" / "E0-none-s0.jsonl"
    journal.unlink()
    (run_dir / "cases" / "E0-none-s0.json").unlink()
    arguments = ["run", "core", "--scale", "smoke", "--results", str(results)]
    child = subprocess.Popen(
        [sys.executable, "-m", "bench.cli", *arguments],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 5 * MINUTES
    while time.monotonic() < deadline and child.poll() is None:
        if journal.exists() and journal.read_text():
            break
        time.sleep(0.005)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    with journal.open("a") as file:
        file.write('{"case": "E0-none-s0", "ind')  # what a kill in the middle of a write leaves
    assert len(journal.read_text().splitlines()) - 1 < 2, "the kill came too late to show anything"
    assert cli.main(arguments) == 0
    assert episodes(run_dir, "E0-none-s0") == episodes(smoke[0], "E0-none-s0")
    assert (run_dir / "cases" / "E0-none-s0.json").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "cor"], "unknown suite 'cor'"),
        (["run", "core", "--scale", "smok"], "unknown scale 'smok'"),
        (["run", "core", "--scale", "smoke", "--arms", "E0,E9"], "unknown arm 'E9'"),
        (["run", "core", "--scale", "smoke", "--episodes", "0"], "EPISODES=0"),
        (["run", "core", "--scale", "smoke", "--episodes", "2,3"], "EPISODES=2,3"),
        (["run", "core", "--scale", "full"], "scale 'full' cannot run here: a GPU is needed"),
    ],
)
def test_bad_use_ends_in_one_line_and_exit_2(arguments, told, tmp_path, capsys):
    assert cli.main([*arguments, "--results", str(tmp_path / "results")]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("error: ")
    assert told in line
    assert not list(tmp_path.glob("results/*/episodes"))


def test_a_case_whose_needs_are_damaged_ends_in_one_last_line_and_exit_2(smoke, place, capsys):
    """A checkpoint that somebody changed: the journal of that rollout is not begun, the rest of the
    run is kept."""
    run_dir, _ = smoke
    config = next((run_dir / "checkpoints" / "E0-train-s0").glob("*/pretrained_model/config.json"))
    journal = run_dir / "episodes" / "E0-none-s0.jsonl"
    kept, rows = config.read_text(), journal.read_text()
    config.write_text(json.dumps({**json.loads(kept), "max_state_dim": 16}))
    journal.unlink()
    try:
        assert cli.main(["run", "core", "--scale=smoke", f"--results={place / 'results'}"]) == 2
        printed = capsys.readouterr()
        assert "Traceback" not in printed.out + printed.err
        last = printed.err.strip().splitlines()[-1]
        assert last.startswith("error: ")
        assert "changed after E0-train-s0 ended" in last
        assert (run_dir / "episodes" / "E2-pred-s0.jsonl").exists()
    finally:
        config.write_text(kept)
        journal.write_text(rows)
