"""What a report costs: from a run directory of five rollouts to three files, in a process."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from clocks import children_cpu_seconds
from test_statistics import big_plan, rows_of

from bench.plan.document import Plan
from bench.plan.files import write_plan
from bench.record.journal import journal_path

MOST_SECONDS = {2_000: 3.0, 100_000: 10.0}
"""CPU seconds by episodes of a rollout: issue 7."""
STEPS = 1_000
"""Logged steps of each training."""


def write_big_run(run_dir: Path, plan: Plan) -> None:
    """Made-up journals and metrics. Never results: nothing was played or trained."""
    write_plan(plan, run_dir)
    for folder in ("episodes", "metrics"):
        (run_dir / folder).mkdir()
    rows = rows_of(plan)
    episodes = [dataclasses.asdict(episode) for episode in plan.episodes]
    for case in plan.rollout_cases():
        lines = (_line(case.id, row, episodes[row["index"]]) for row in rows[case.id])
        journal_path(run_dir, case.id).write_text("".join(lines))
    for case in plan.cases:
        if case.kind == "train":
            steps = [
                {"step": step, "loss_total": 1 / step, "world_cos_k": [0.5] * 8}
                for step in range(1, STEPS + 1)
            ]
            (run_dir / "metrics" / f"{case.id}.jsonl").write_text(
                "".join(f"{json.dumps(step)}\n" for step in steps)
            )


def _line(case_id: str, row: dict[str, Any], episode: dict[str, Any]) -> str:
    played = {
        "case": case_id,
        "error": "made-up error" if row["status"] == "error" else None,
        "seconds": 9.5,
        "cpu_seconds": 9.25,
        "scene_hash": f"{episode['env_seed']:016x}",
        "queries": row["steps"] // 10,
        "renders": row["steps"] // 5,
        "reset": "cheap",
        "policy_batch": 1,
    }
    return f"{json.dumps({**episode, **row, **played})}\n"


@pytest.mark.parametrize("episodes", MOST_SECONDS)
def test_a_report(benchmark: Any, tmp_path: Path, episodes: int) -> None:
    run_dir = tmp_path / "run"
    write_big_run(run_dir, big_plan(inits=50, episodes=episodes))
    spent: list[float] = []

    def once() -> None:
        before = children_cpu_seconds()
        command = [sys.executable, "-m", "bench.cli", "report", str(run_dir)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        spent.append(children_cpu_seconds() - before)

    benchmark.pedantic(once, rounds=2)
    report = json.loads((run_dir / "report.json").read_text())
    assert report["episodes"]["finished"] == 5 * episodes
    size = (run_dir / "report.html").stat().st_size
    benchmark.extra_info.update(cpu_seconds=round(min(spent), 2), bytes=size)
    print(
        f"\n  5 x {episodes} episodes reported in {min(spent):.2f} CPU seconds, {size} bytes of"
        " HTML"
    )
    assert min(spent) <= MOST_SECONDS[episodes]
