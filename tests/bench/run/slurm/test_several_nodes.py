"""A training over two nodes of a real Slurm, a process on each: it learns what one does, stopped or
a node lost, too.

Nothing of the training is fake; what surrounds it is left as if it were done. Root, Debian's
packages; minutes.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from fake_runs import ROOT
from on_cluster import (
    kill_node,
    lines_of,
    play_at_once,
    restarts,
    start_node,
    take_both_nodes,
    tasks,
    wait_for_the_end,
    wait_until,
    wmbench,
)
from synthetic_run import write_run

from bench.plan.document import Plan
from bench.plan.machine import load_machine
from bench.plan.make import make_plan
from bench.plan.overrides import Overrides
from bench.plan.suite import load_suite
from bench.run.slurm.queue import Submitted, read_submitted
from wmvla.train.checkpoint import latest_step

pytestmark = pytest.mark.slow
STEPS = 100
TRAINING = "E2-train-s0"
ASKED = ("core", "--scale=smoke", "--arms=E2", f"--steps={STEPS}")
REAL = ("demonstrations", "base", "latents")
"""What the training reads: done once, by one computer."""


def plan_on(machine: str) -> Plan:
    return make_plan(
        load_suite("core"), "smoke", load_machine(machine), Overrides(arms=("E2",), steps=STEPS)
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the cache, and the results folders that share it."""
    folder = tmp_path_factory.mktemp("nodes")
    wmbench(
        "run",
        *ASKED,
        "--machine=cpu",
        f"--results={folder}/made",
        *(f"--case={case}" for case in REAL),
        seconds=900,
    )
    return folder


def all_but_the_training(folder: Path, name: str) -> Path:
    """A run directory on two nodes in which it alone is left to do."""
    plan = plan_on("cpu-x2")
    run_dir = write_run(folder / name / plan.run_name, plan, {}, metrics=False)
    for case in REAL:
        shutil.copy(
            folder / "made" / plan_on("cpu").run_name / "cases" / f"{case}.json", run_dir / "cases"
        )
    for case in plan.rollout_cases():
        play_at_once(plan, case, run_dir)
    (run_dir / "cases" / f"{TRAINING}.json").unlink()
    return run_dir


def submit(run_dir: Path) -> Submitted:
    """Submit what is left; the training's job."""
    folders = f"{ROOT}:{ROOT / 'wmvla' / 'plugin'}"
    wmbench("submit", *ASKED, "--machine=cpu-x2", f"--results={run_dir.parent}", PYTHONPATH=folders)
    training, _ = read_submitted(run_dir)
    assert training.name == TRAINING
    return training


def learned(path: Path) -> list[dict[str, Any]]:
    """The metrics, without their clock."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def metrics_of(run_dir: Path) -> Path:
    return run_dir / "metrics" / f"{TRAINING}.jsonl"


def has_trained(run_dir: Path, steps: int) -> None:
    wait_until(lambda: lines_of(metrics_of(run_dir)) >= steps)


def processes_of(run_dir: Path) -> dict[int, psutil.Process]:
    """The training's processes, by rank."""
    found = {}
    for process in psutil.process_iter(["cmdline"]):
        if {"wmvla.train.main", str(run_dir / "jobs" / f"{TRAINING}.json")} < set(
            process.info["cmdline"] or ()
        ):
            found[int(process.environ()["SLURM_PROCID"])] = process
    return found


@pytest.fixture(scope="module")
def uninterrupted(cluster: Path, folder: Path) -> Path:
    run_dir = all_but_the_training(folder, "uninterrupted")
    submit(run_dir)
    wait_until(lambda: len(processes_of(run_dir)) == 2)
    nodes = {
        rank: process.environ()["SLURMD_NODENAME"]
        for rank, process in processes_of(run_dir).items()
    }
    assert nodes == {0: "n1", 1: "n2"}
    assert set().union(*wait_for_the_end(run_dir).values()) == {"COMPLETED"}
    return run_dir


def test_two_nodes_train_like_one_process(uninterrupted: Path, tmp_path: Path) -> None:
    record = json.loads((uninterrupted / "cases" / f"{TRAINING}.json").read_text())
    assert (record["steps"], record["last"]["step"]) == (STEPS, STEPS)
    assert json.loads((uninterrupted / "report.json").read_text())["complete"] is True
    log = next((uninterrupted / "logs").glob(f"{TRAINING}.slurm-*.out")).read_text()
    assert re.search(rf"^0: +{TRAINING} +{STEPS}/{STEPS} ", log, re.MULTILINE), log

    job = json.loads((uninterrupted / "jobs" / f"{TRAINING}.json").read_text())
    alone = {
        **job,
        "checkpoints": str(tmp_path / "checkpoints"),
        "metrics": str(tmp_path / "metrics.jsonl"),
    }
    (tmp_path / "job.json").write_text(json.dumps(alone))
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}
    command = [sys.executable, "-m", "wmvla.train.main", str(tmp_path / "job.json")]
    one = {**inherited, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{ROOT / 'wmvla' / 'plugin'}"}
    subprocess.run(command, env=one, check=True, timeout=600, capture_output=True)
    ours, theirs = learned(metrics_of(uninterrupted)), learned(tmp_path / "metrics.jsonl")
    for mine, its in list(zip(ours, theirs, strict=True))[:20]:
        for loss in ("loss_total", "action_loss", "world_loss"):
            assert mine[loss] == pytest.approx(its[loss], rel=1e-5, abs=1e-5), mine["step"]


def test_a_preempted_training_goes_on_exactly(
    uninterrupted: Path, folder: Path, tmp_path: Path
) -> None:
    run_dir = all_but_the_training(folder, "preempted")
    job = submit(run_dir)
    has_trained(run_dir, 3)
    take_both_nodes(tmp_path)
    wait_until(
        lambda: any(task.job == job.id and task.state == "PENDING" for task in tasks(run_dir))
    )
    assert 0 < latest_step(run_dir / "checkpoints" / TRAINING) < STEPS
    assert set().union(*wait_for_the_end(run_dir).values()) == {"COMPLETED"}
    assert restarts(job.id) == 1
    assert learned(metrics_of(run_dir)) == learned(metrics_of(uninterrupted))


def test_a_training_that_loses_a_node_goes_on_exactly(
    cluster: Path, uninterrupted: Path, folder: Path
) -> None:
    run_dir = all_but_the_training(folder, "lost")
    job = submit(run_dir)
    has_trained(run_dir, 3)
    try:
        kill_node(cluster, "n2", job.id)
        wait_until(
            lambda: any(task.job == job.id and task.state == "PENDING" for task in tasks(run_dir))
        )
    finally:
        start_node(cluster, "n2")
    assert set().union(*wait_for_the_end(run_dir).values()) == {"COMPLETED"}
    assert restarts(job.id) == 1
    assert learned(metrics_of(run_dir)) == learned(metrics_of(uninterrupted))


def test_a_process_that_dies_ends_the_others_and_the_job_is_not_started_again(
    uninterrupted: Path, folder: Path
) -> None:
    run_dir = all_but_the_training(folder, "died")
    job = submit(run_dir)
    has_trained(run_dir, 3)
    processes_of(run_dir)[1].kill()
    assert wait_for_the_end(run_dir) == {TRAINING: {"FAILED"}, "report": {"COMPLETED"}}
    assert restarts(job.id) == 0
    assert processes_of(run_dir) == {}
    failure = json.loads((run_dir / "failures" / f"{TRAINING}.json").read_text())
    assert failure["error"].startswith(f"{TRAINING} failed: ")

    # Submitted again it continues, to the same numbers.
    submit(run_dir)
    assert set().union(*wait_for_the_end(run_dir).values()) == {"COMPLETED"}
    assert learned(metrics_of(run_dir)) == learned(metrics_of(uninterrupted))


def test_a_training_that_is_at_its_end_is_only_recorded(uninterrupted: Path) -> None:
    """As after a kill -9 between the last checkpoint and the record: the processes meet, and find
    nothing to do."""
    record = uninterrupted / "cases" / f"{TRAINING}.json"
    before, trained = json.loads(record.read_text()), metrics_of(uninterrupted).read_bytes()
    record.unlink()
    submit(uninterrupted)
    assert set().union(*wait_for_the_end(uninterrupted).values()) == {"COMPLETED"}
    assert json.loads(record.read_text())["last"] == before["last"]
    assert metrics_of(uninterrupted).read_bytes() == trained
