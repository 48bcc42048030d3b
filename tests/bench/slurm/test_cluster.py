"""On a real Slurm, a controller and two nodes on this machine: whole runs, and what becomes of them in trouble.

Rollouts are fake but for one run, and so is what is trained: the point is Slurm. Root, Debian's packages; minutes.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from fake_rollouts import succeeds
from fake_runs import EPISODES, ROOT, trained
from synthetic_run import core_plan, rows_of

from bench.cases import Case
from bench.executor import record_path
from bench.gaps import missing_episodes
from bench.journal import journal_path, read_journals
from bench.plan import Plan
from bench.slurm.queue import Submitted, Task, read_queue, read_submitted
from wmvla.files import write_json

pytestmark = pytest.mark.slow
CLUSTER = ROOT / "scripts" / "slurm_cluster.sh"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a Slurm that is up. Skips where there can be none."""
    if os.getuid() != 0:
        pytest.skip("a Slurm of its own needs root")
    folder = tmp_path_factory.mktemp("slurm")
    started = subprocess.run(
        ["bash", str(CLUSTER), "start", str(folder)], capture_output=True, text=True, timeout=300, check=False
    )
    if started.returncode:
        pytest.skip(f"no Slurm here: {(started.stderr.strip().splitlines() or ['no reason given'])[-1]}")
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    try:
        yield folder
    finally:
        subprocess.run(["bash", str(CLUSTER), "stop", str(folder)], timeout=120, check=True)
        os.environ.pop("SLURM_CONF") if before is None else os.environ.update(SLURM_CONF=before)


@pytest.fixture
def plan() -> Plan:
    return core_plan("smoke", episodes=EPISODES)


@pytest.fixture
def run_dir(cluster: Path, plan: Plan, tmp_path: Path) -> Path:
    return trained(plan, tmp_path / "results")


def wmbench(*arguments: str, **environment: str) -> str:
    """What a command that ends well prints."""
    command = [sys.executable, "-m", "bench.cli", *arguments]
    inherited = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'wmvla' / 'plugin'}", **environment}
    done = subprocess.run(command, cwd=ROOT, env=inherited, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def submit(run_dir: Path, *arguments: str, **environment: str) -> dict[str, Submitted]:
    """Submit the plan with fake rollouts; its jobs by name."""
    folders = f"{ROOT}:{ROOT / 'wmvla' / 'plugin'}:{ROOT / 'tests' / 'bench'}"
    fake = {"PYTHONPATH": folders, "PYTEST_ADDOPTS": "-p fake_rollouts", **environment}
    asked = ["core", "--scale=smoke", "--machine=cpu", f"--episodes={EPISODES}", f"--results={run_dir.parent}"]
    wmbench("submit", *asked, *arguments, **fake)
    return {job.name: job for job in read_submitted(run_dir)}


def status(run_dir: Path) -> dict[str, dict[str, Any]]:
    """What `wmbench status` says of each case, and of the report."""
    told = json.loads(wmbench("status", str(run_dir), "--json"))
    return {case["case"]: case for case in told["cases"]} | {job["name"]: job for job in told["jobs"]}


def tasks(run_dir: Path) -> list[Task]:
    return read_queue(read_submitted(run_dir)) or []


def wait_until(what: Callable[[], Any], seconds: float = 240) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.3)
    return found


def wait_for_the_end(run_dir: Path, seconds: float = 240) -> dict[str, set[str]]:
    """States of all jobs at their end, by name; ``pytest --show-capture`` has the logs if they never end."""

    def ended() -> bool:
        found = tasks(run_dir)
        return bool(found) and all(task.ended for task in found)

    try:
        wait_until(ended, seconds)
    finally:
        print(*(f"== {log.name}\n{log.read_text()}" for log in sorted((run_dir / "logs").glob("*.out"))), sep="\n")
    names = {job.id: job.name for job in read_submitted(run_dir)}
    states: dict[str, set[str]] = {name: set() for name in names.values()}
    for task in tasks(run_dir):
        states[names[task.job]].add(task.state)
    return states


def check_whole(plan: Plan, run_dir: Path) -> None:
    """Every episode is recorded once, with its own outcome, and the report is that of a whole run."""
    rows = read_journals(plan, run_dir)
    assert missing_episodes(plan, rows) == {}
    for case in plan.rollout_cases():
        assert [row["success"] for row in rows[case.id]] == [succeeds(str(case.mode), row.noise_seed) for row in plan.episodes]
        assert {row["status"] for row in rows[case.id]} == {"ok"}
    assert json.loads((run_dir / "report.json").read_text())["complete"] is True


def lines_of(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_shards_on_two_nodes(plan: Plan, run_dir: Path) -> None:
    jobs = submit(run_dir, "--shards=2", FAKE_STEP_SECONDS="0.02")
    assert set(jobs) == {*(f"{case.id}{end}" for case in plan.rollout_cases() for end in ("", ".shards")), "report"}
    wait_until(lambda: sum(task.state == "RUNNING" for task in tasks(run_dir)) == 2)
    found = status(run_dir)
    assert found["base"].get("jobs") is None
    (array, completion) = found["E2-random-s0"]["jobs"]
    assert len(array["tasks"]) == 2
    assert [(task["state"], task["reason"]) for task in completion["tasks"]] == [("PENDING", "Dependency")]
    assert [task["state"] for task in found["report"]["tasks"]] == ["PENDING"]

    again = [sys.executable, "-m", "bench.cli", "submit", "core", "--scale=smoke", "--machine=cpu"]
    more = [f"--episodes={EPISODES}", f"--results={run_dir.parent}"]
    refused = subprocess.run([*again, *more], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 2
    assert "jobs of this run are in the queue" in refused.stderr

    assert set().union(*wait_for_the_end(run_dir).values()) == {"COMPLETED"}
    check_whole(plan, run_dir)
    nodes = {log.name: log.read_text() for log in (run_dir / "logs").glob("E0-none-s0.shards.slurm-*.out")}
    assert len(nodes) == 2, nodes


def test_a_failed_case(plan: Plan, run_dir: Path) -> None:
    """E2's training finds no base policy. Its rollouts are never started, the others are, and the report names the hole."""
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
    """Jobs of a partition that goes first take both nodes: what was played stays, and the job goes on when they are done."""
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
    """Slurm's warning goes to the batch script alone, as ``scancel --batch`` does: requeued. A cancelled job is not."""
    jobs = submit(run_dir, FAKE_STEP_SECONDS="0.1")
    first, second = jobs["E0-none-s0"].id, jobs["E1-zero-s0"].id
    journals = [run_dir / "episodes" / f"{name}.jsonl" for name in ("E0-none-s0", "E1-zero-s0")]
    wait_until(lambda: all(lines_of(journal) >= 2 for journal in journals))
    subprocess.run(["scancel", "--batch", "--signal=TERM", first], check=True)
    subprocess.run(["scancel", second], check=True)
    wait_until(lambda: any(task.job == first and task.state == "PENDING" for task in tasks(run_dir)))
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
    """kill -9 of a node's daemon and of all that it runs: its job goes to the other node and continues there."""
    for case in plan.rollout_cases()[2:]:
        play_at_once(plan, case, run_dir)
    jobs = submit(run_dir, FAKE_STEP_SECONDS="0.1")
    names = {"E0-none-s0", "E1-zero-s0"}
    journals = {name: run_dir / "episodes" / f"{name}.jsonl" for name in names}
    wait_until(lambda: all(lines_of(journal) >= 2 for journal in journals.values()))
    ids = ",".join(jobs[name].id for name in names)
    placed = subprocess.run(
        ["squeue", "--noheader", f"--jobs={ids}", "--format=%N %A"], capture_output=True, text=True, check=True
    )
    lost = dict(line.split() for line in placed.stdout.splitlines())["n2"]
    (name,) = [name for name in names if jobs[name].id == lost]
    kill_node(cluster, "n2", lost)
    kept = journals[name].read_bytes()
    wait_until(lambda: any(task.job == lost and task.state == "PENDING" for task in tasks(run_dir)))
    try:
        states = wait_for_the_end(run_dir)
    finally:
        subprocess.run(["bash", str(CLUSTER), "node", str(cluster), "n2"], check=True)
        wait_until(
            lambda: subprocess.run(
                ["sinfo", "--noheader", "--nodes=n2", "--format=%T"], capture_output=True, text=True, check=True
            ).stdout.startswith("idle")
        )
    assert set().union(*states.values()) == {"COMPLETED"}
    assert journals[name].read_bytes().startswith(kept)
    check_whole(plan, run_dir)


def kill_node(cluster: Path, node: str, job: str) -> None:
    """As if its plug was pulled: the daemon, the job's step daemons and what they started."""
    doomed = [psutil.Process(int((cluster / f"slurmd-{node}.pid").read_text()))]
    for process in psutil.process_iter(["cmdline"]):
        told = " ".join(process.info["cmdline"] or ())
        if told.startswith(f"slurmstepd: [{job}."):
            doomed += [process, *process.children(recursive=True)]
    assert len(doomed) > 3, doomed
    for process in doomed:
        process.send_signal(signal.SIGKILL)


def take_both_nodes(folder: Path) -> None:
    """Submit two short jobs that go first."""
    urgent = ["sbatch", "--partition=urgent", "--exclusive", f"--output={folder}/urgent.%j", "--wrap", "sleep 3"]
    for _ in range(2):
        subprocess.run(urgent, check=True, capture_output=True)


def restarts(job: str) -> int:
    """How often a job was requeued."""
    shown = subprocess.run(["scontrol", "show", "job", job], capture_output=True, text=True, check=True).stdout
    return int(re.findall(r"\bRestarts=(\d+)", shown)[0])


def play_at_once(plan: Plan, case: Case, run_dir: Path) -> None:
    """Leave what playing a rollout on the fake simulator would have left."""
    outcomes = [succeeds(str(case.mode), episode.noise_seed) for episode in plan.episodes]
    rows = [{**row, "scene_hash": f"{row['init']:064x}"} for row in rows_of(plan, case, outcomes)]
    journal = journal_path(run_dir, case.id)
    journal.parent.mkdir(exist_ok=True)
    journal.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    record = {"case": case.id, "kind": "rollout", "seconds": 1.0, "cpu_seconds": 1.0, "finished_at": "2030-01-01T00:00:00Z"}
    write_json(record_path(run_dir, case.id), {**record, "artefacts": {}})


@pytest.fixture(scope="module")
def core_run(cluster: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Core at smoke scale, with nothing fake: demonstrations, trainings and rollouts, these in two shards."""
    results = tmp_path_factory.mktemp("core") / "results"
    told = wmbench("submit", "core", "--scale=smoke", "--machine=cpu", f"--results={results}", "--shards=2")
    run_dir = results / core_plan("smoke").run_name
    assert told.splitlines()[-1] == f"wmbench status {run_dir}"
    states = wait_for_the_end(run_dir, seconds=1800)
    assert set().union(*states.values()) == {"COMPLETED"}
    return run_dir


def test_core_at_smoke_scale_to_its_report(core_run: Path) -> None:
    plan = core_plan("smoke")
    assert missing_episodes(plan, read_journals(plan, core_run)) == {}
    assert {case.id for case in plan.cases} == {path.stem for path in (core_run / "cases").iterdir()}
    assert json.loads((core_run / "report.json").read_text())["complete"] is True
    assert "report: " in next((core_run / "logs").glob("report.slurm-*.out")).read_text()


def test_a_preempted_training(core_run: Path, tmp_path: Path) -> None:
    """It writes a checkpoint of the step that it was told to stop at, and goes on from there."""
    steps = 300
    asked = ["core", "--scale=smoke", "--machine=cpu", "--arms=E0", f"--steps={steps}", f"--results={core_run.parent}"]
    wmbench("submit", *asked)
    run_dir = core_run.parent / core_plan("smoke", arms=("E0",), steps=steps).run_name
    (training,) = [job.id for job in read_submitted(run_dir) if job.name == "E0-train-s0"]
    metrics = run_dir / "metrics" / "E0-train-s0.jsonl"
    wait_until(lambda: lines_of(metrics) >= 2)
    take_both_nodes(tmp_path)
    wait_until(lambda: any(task.job == training and task.state == "PENDING" for task in tasks(run_dir)))
    (checkpoint,) = (run_dir / "checkpoints" / "E0-train-s0").iterdir()
    assert 0 < int(checkpoint.name) < steps
    assert set().union(*wait_for_the_end(run_dir).values()) == {"COMPLETED"}
    assert restarts(training) == 1
    assert [json.loads(line)["step"] for line in metrics.read_text().splitlines()] == list(range(1, steps + 1))
    assert json.loads((run_dir / "report.json").read_text())["complete"] is True
