"""What tests on a real Slurm do: ask the queue, wait, kill a node, and leave what a case would have
left."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from fake_rollouts import succeeds
from fake_runs import ROOT
from synthetic_run import rows_of

from bench.plan.cases import Case
from bench.plan.document import Plan
from bench.record.journal import journal_path
from bench.run.executor import record_path
from bench.run.slurm.queue import Task, read_queue, read_submitted
from wmvla.files import write_json

CLUSTER = ROOT / "scripts" / "slurm_cluster.sh"


def wmbench(*arguments: str, seconds: float = 120, **environment: str) -> str:
    """What a command that ends well prints."""
    command = [sys.executable, "-m", "bench.cli", *arguments]
    inherited = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'wmvla' / 'plugin'}", **environment}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=inherited,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def tasks(run_dir: Path) -> list[Task]:
    return read_queue(read_submitted(run_dir)) or []


def wait_until(what: Callable[[], Any], seconds: float = 240) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.3)
    return found


def wait_for_the_end(run_dir: Path, seconds: float = 240) -> dict[str, set[str]]:
    """States of all jobs at their end, by name; ``pytest --show-capture`` has the logs if they
    never end."""

    def ended() -> bool:
        found = tasks(run_dir)
        return bool(found) and all(task.ended for task in found)

    try:
        wait_until(ended, seconds)
    finally:
        print(
            *(
                f"== {log.name}\n{log.read_text()}"
                for log in sorted((run_dir / "logs").glob("*.out"))
            ),
            sep="\n",
        )
    names = {job.id: job.name for job in read_submitted(run_dir)}
    states: dict[str, set[str]] = {name: set() for name in names.values()}
    for task in tasks(run_dir):
        states[names[task.job]].add(task.state)
    return states


def lines_of(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


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


def start_node(cluster: Path, node: str) -> None:
    """Start a killed node's daemon again, and wait until jobs may go there."""
    subprocess.run(["bash", str(CLUSTER), "node", str(cluster), node], check=True)
    asked = ["sinfo", "--noheader", f"--nodes={node}", "--format=%T"]
    wait_until(
        lambda: subprocess.run(asked, capture_output=True, text=True, check=True).stdout.startswith(
            "idle"
        )
    )


def take_both_nodes(folder: Path) -> None:
    """Submit two short jobs that go first."""
    urgent = [
        "sbatch",
        "--partition=urgent",
        "--exclusive",
        f"--output={folder}/urgent.%j",
        "--wrap",
        "sleep 3",
    ]
    for _ in range(2):
        subprocess.run(urgent, check=True, capture_output=True)


def restarts(job: str) -> int:
    """How often a job was requeued."""
    shown = subprocess.run(
        ["scontrol", "show", "job", job], capture_output=True, text=True, check=True
    ).stdout
    return int(re.findall(r"\bRestarts=(\d+)", shown)[0])


def play_at_once(plan: Plan, case: Case, run_dir: Path) -> None:
    """Leave what playing a rollout on the fake simulator would have left."""
    outcomes = [succeeds(str(case.mode), episode.noise_seed) for episode in plan.episodes]
    rows = [{**row, "scene_hash": f"{row['init']:064x}"} for row in rows_of(plan, case, outcomes)]
    journal = journal_path(run_dir, case.id)
    journal.parent.mkdir(exist_ok=True)
    journal.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    record = {
        "case": case.id,
        "kind": "rollout",
        "seconds": 1.0,
        "cpu_seconds": 1.0,
        "finished_at": "2030-01-01T00:00:00Z",
    }
    write_json(record_path(run_dir, case.id), {**record, "artefacts": {}})
