"""On a real Slurm, a controller and two nodes on this machine: whole runs, and what becomes of them
in trouble.

Rollouts are fake but for one run, and so is what is trained: the point is Slurm. Root, Debian's
packages; minutes.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_rollouts import succeeds
from fake_runs import EPISODES, ROOT, trained
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
from synthetic_run import core_plan

from bench.judge.missing import missing_episodes
from bench.plan.document import Plan
from bench.record.journal import read_journals
from bench.run.slurm.queue import Submitted, read_submitted

pytestmark = pytest.mark.slow


@pytest.fixture
def plan() -> Plan:
    return core_plan("smoke", episodes=EPISODES)


@pytest.fixture
def run_dir(cluster: Path, plan: Plan, tmp_path: Path) -> Path:
    return trained(plan, tmp_path / "results")


def submit(run_dir: Path, *arguments: str, **environment: str) -> dict[str, Submitted]:
    """Submit the plan with fake rollouts; its jobs by name."""
    tests = ROOT / "tests" / "bench"
    folders = (ROOT, ROOT / "wmvla" / "plugin", tests, tests / "run" / "slurm" / "fake_site")
    fake = {"PYTHONPATH": ":".join(map(str, folders)), **environment}
    asked = [
        "core",
        "--scale=smoke",
        "--machine=cpu",
        f"--episodes={EPISODES}",
        f"--results={run_dir.parent}",
    ]
    wmbench("submit", *asked, *arguments, **fake)
    return {job.name: job for job in read_submitted(run_dir)}


def status(run_dir: Path) -> dict[str, dict[str, Any]]:
    """What `wmbench status` says of each case, and of the report."""
    told = json.loads(wmbench("status", str(run_dir), "--json"))
    return {case["case"]: case for case in told["cases"]} | {
        job["name"]: job for job in told["jobs"]
    }


def check_whole(plan: Plan, run_dir: Path) -> None:
    """Every episode is recorded once, with its own outcome, and the report is that of a whole
    run."""
    rows = read_journals(plan, run_dir)
    assert missing_episodes(plan, rows) == {}
    for case in plan.rollout_cases():
        assert [row["success"] for row in rows[case.id]] == [
            succeeds(str(case.mode), row.noise_seed) for row in plan.episodes
        ]
        assert {row["status"] for row in rows[case.id]} == {"ok"}
    assert json.loads((run_dir / "report.json").read_text())["complete"] is True


def test_shards_on_two_nodes(plan: Plan, run_dir: Path) -> None:
    jobs = submit(run_dir, "--shards=2", FAKE_STEP_SECONDS="0.02")
    assert set(jobs) == {
        *(f"{case.id}{end}" for case in plan.rollout_cases() for end in ("", ".shards")),
        "report",
    }
    wait_until(lambda: sum(task.state == "RUNNING" for task in tasks(run_dir)) == 2)
    found = status(run_dir)
    assert found["base"].get("jobs") is None
    (array, completion) = found["E2-random-s0"]["jobs"]
    assert len(array["tasks"]) == 2
    assert [(task["state"], task["reason"]) for task in completion["tasks"]] == [
        ("PENDING", "Dependency")
    ]
    assert [task["state"] for task in found["report"]["tasks"]] == ["PENDING"]

    again = [sys.executable, "-m", "bench.cli", "submit", "core", "--scale=smoke", "--machine=cpu"]
    more = [f"--episodes={EPISODES}", f"--results={run_dir.parent}"]
    refused = subprocess.run(
        [*again, *more], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert refused.returncode == 2
    assert "jobs of this run are in the queue" in refused.stderr

    assert set().union(*wait_for_the_end(run_dir).values()) == {"COMPLETED"}
    check_whole(plan, run_dir)
    nodes = {
        log.name: log.read_text()
        for log in (run_dir / "logs").glob("E0-none-s0.shards.slurm-*.out")
    }
    assert len(nodes) == 2, nodes


def test_a_failed_case(plan: Plan, run_dir: Path) -> None:
    """E2's training finds no base policy. Its rollouts are never started, the others are, and the
    report names the hole."""
    (run_dir / "cases" / "E2-train-s0.json").unlink()
    jobs = submit(run_dir)
    assert jobs["E2-train-s0"].cases == ("E2-train-s0",)
    states = wait_for_the_end(run_dir)
    for name, ended in states.items():
        wanted = "COMPLETED" if name == "report" or not name.startswith("E2-") else "CANCELLED"
        assert ended == {"FAILED" if name == "E2-train-s0" else wanted}, (name, ended)
    found = status(run_dir)
    assert found["E2-train-s0"]["failed"]
    assert [job["tasks"] for job in found["E2-train-s0"]["jobs"]] == [
        [{"index": None, "state": "FAILED", "reason": "NonZeroExitCode"}]
    ]
    shown = wmbench("status", str(run_dir))
    assert "cancelled" in next(line for line in shown.splitlines() if line.startswith("E2-pred-s0"))
    report = json.loads((run_dir / "report.json").read_text())
    assert report["complete"] is False
    holes = {gap["case"] for gap in report["missing"]}
    assert holes == {case.id for case in plan.rollout_cases() if case.arm == "E2"}
    assert "Missing: E2-pred-s0 10 (0-9)" in (run_dir / "report.md").read_text()


def test_a_preempted_job(plan: Plan, run_dir: Path, tmp_path: Path) -> None:
    """Jobs of a partition that goes first take both nodes: what was played stays, and the job goes
    on when they are done."""
    for case in plan.rollout_cases()[1:]:
        play_at_once(plan, case, run_dir)
    jobs = submit(run_dir, FAKE_STEP_SECONDS="0.1")
    journal = run_dir / "episodes" / "E0-none-s0.jsonl"
    wait_until(lambda: lines_of(journal) >= 2)
    kept = journal.read_bytes()
    urgent = [
        "sbatch",
        "--parsable",
        "--partition=urgent",
        "--exclusive",
        f"--output={tmp_path}/urgent.%j",
        "--wrap",
        "sleep 3",
    ]
    for _ in range(2):
        subprocess.run(urgent, check=True, capture_output=True)
    own = jobs["E0-none-s0"].id
    wait_until(lambda: any(task.job == own and task.state == "PENDING" for task in tasks(run_dir)))
    assert restarts(own) == 1
    assert lines_of(journal) < EPISODES
    assert set().union(*wait_for_the_end(run_dir).values()) == {"COMPLETED"}
    assert journal.read_bytes().startswith(kept)
    check_whole(plan, run_dir)


def test_the_warning_before_the_time_limit_and_a_cancelled_job(plan: Plan, run_dir: Path) -> None:
    """Slurm's warning goes to the batch script alone, as ``scancel --batch`` does: requeued. A
    cancelled job is not."""
    jobs = submit(run_dir, FAKE_STEP_SECONDS="0.1")
    first, second = jobs["E0-none-s0"].id, jobs["E1-zero-s0"].id
    journals = [run_dir / "episodes" / f"{name}.jsonl" for name in ("E0-none-s0", "E1-zero-s0")]
    wait_until(lambda: all(lines_of(journal) >= 2 for journal in journals))
    subprocess.run(["scancel", "--batch", "--signal=TERM", first], check=True)
    subprocess.run(["scancel", second], check=True)
    wait_until(
        lambda: any(task.job == first and task.state == "PENDING" for task in tasks(run_dir))
    )
    states = wait_for_the_end(run_dir)
    assert states.pop("E1-zero-s0") == {"CANCELLED"}
    assert set().union(*states.values()) == {"COMPLETED"}
    assert restarts(first) == 1
    holes = {gap["case"] for gap in json.loads((run_dir / "report.json").read_text())["missing"]}
    assert holes == {"E1-zero-s0"}

    # Submitted again, what is missing is done, and nothing else.
    assert set(submit(run_dir)) == {"E1-zero-s0", "report"}
    assert set().union(*wait_for_the_end(run_dir).values()) == {"COMPLETED"}
    check_whole(plan, run_dir)


def test_a_killed_node(cluster: Path, plan: Plan, run_dir: Path) -> None:
    """kill -9 of a node's daemon and of all that it runs: its job goes to the other node and
    continues there."""
    for case in plan.rollout_cases()[2:]:
        play_at_once(plan, case, run_dir)
    jobs = submit(run_dir, FAKE_STEP_SECONDS="0.1")
    names = {"E0-none-s0", "E1-zero-s0"}
    journals = {name: run_dir / "episodes" / f"{name}.jsonl" for name in names}
    wait_until(lambda: all(lines_of(journal) >= 2 for journal in journals.values()))
    ids = ",".join(jobs[name].id for name in names)
    placed = subprocess.run(
        ["squeue", "--noheader", f"--jobs={ids}", "--format=%N %A"],
        capture_output=True,
        text=True,
        check=True,
    )
    lost = dict(line.split() for line in placed.stdout.splitlines())["n2"]
    (name,) = [name for name in names if jobs[name].id == lost]
    kill_node(cluster, "n2", lost)
    kept = journals[name].read_bytes()
    wait_until(lambda: any(task.job == lost and task.state == "PENDING" for task in tasks(run_dir)))
    try:
        states = wait_for_the_end(run_dir)
    finally:
        start_node(cluster, "n2")
    assert set().union(*states.values()) == {"COMPLETED"}
    assert journals[name].read_bytes().startswith(kept)
    check_whole(plan, run_dir)


@pytest.fixture(scope="module")
def core_run(cluster: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Core at smoke scale, with nothing fake: demonstrations, trainings and rollouts, these in two
    shards."""
    results = tmp_path_factory.mktemp("core") / "results"
    told = wmbench(
        "submit", "core", "--scale=smoke", "--machine=cpu", f"--results={results}", "--shards=2"
    )
    run_dir = results / core_plan("smoke").run_name
    assert told.splitlines()[-1] == f"wmbench status {run_dir}"
    states = wait_for_the_end(run_dir, seconds=1800)
    assert set().union(*states.values()) == {"COMPLETED"}
    return run_dir


def test_core_at_smoke_scale_to_its_report(core_run: Path) -> None:
    plan = core_plan("smoke")
    assert missing_episodes(plan, read_journals(plan, core_run)) == {}
    assert {case.id for case in plan.cases} == {
        path.stem for path in (core_run / "cases").iterdir()
    }
    assert json.loads((core_run / "report.json").read_text())["complete"] is True
    assert "report: " in next((core_run / "logs").glob("report.slurm-*.out")).read_text()


def test_a_preempted_training(core_run: Path, tmp_path: Path) -> None:
    """It writes a checkpoint of the step that it was told to stop at, and goes on from there."""
    steps = 300
    asked = [
        "core",
        "--scale=smoke",
        "--machine=cpu",
        "--arms=E0",
        f"--steps={steps}",
        f"--results={core_run.parent}",
    ]
    wmbench("submit", *asked)
    run_dir = core_run.parent / core_plan("smoke", arms=("E0",), steps=steps).run_name
    (training,) = [job.id for job in read_submitted(run_dir) if job.name == "E0-train-s0"]
    metrics = run_dir / "metrics" / "E0-train-s0.jsonl"
    wait_until(lambda: lines_of(metrics) >= 2)
    take_both_nodes(tmp_path)
    wait_until(
        lambda: any(task.job == training and task.state == "PENDING" for task in tasks(run_dir))
    )
    (checkpoint,) = (run_dir / "checkpoints" / "E0-train-s0").iterdir()
    assert 0 < int(checkpoint.name) < steps
    assert set().union(*wait_for_the_end(run_dir).values()) == {"COMPLETED"}
    assert restarts(training) == 1
    assert [json.loads(line)["step"] for line in metrics.read_text().splitlines()] == list(
        range(1, steps + 1)
    )
    assert json.loads((run_dir / "report.json").read_text())["complete"] is True
