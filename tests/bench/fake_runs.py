"""Runs of core at smoke scale as a user starts them: real `wmbench run` processes with fake
rollouts (``fake_rollouts``)."""

import json
import os
import subprocess
import sys
from pathlib import Path

from synthetic_run import write_run

from bench.plan.document import Plan

ROOT = Path(__file__).parents[2]
EPISODES = 10


def trained(plan: Plan, results: Path) -> Path:
    """A run whose every case is done but the rollouts."""
    run_dir = write_run(results / plan.run_name, plan, {})
    for case in plan.cases:
        record = run_dir / "cases" / f"{case.id}.json"
        if case.kind == "rollout":
            record.unlink()
        if case.kind == "train":
            done = {
                "steps": plan.recipe.training.steps,
                "artefacts": {"checkpoint": f"{results.name}/{plan.run_name}"},
            }
            record.write_text(json.dumps({**json.loads(record.read_text()), **done}))
    return run_dir


def wmbench(run_dir: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """`wmbench run` of the plan, with the fake simulator."""
    command = [
        sys.executable,
        "-m",
        "bench.cli",
        "run",
        "core",
        "--scale=smoke",
        "--machine=cpu",
        f"--episodes={EPISODES}",
    ]
    ranks = ("RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS")
    inherited = {key: value for key, value in os.environ.items() if key not in ranks}
    fake = {"PYTHONPATH": f"{ROOT}:{Path(__file__).parent}", "PYTEST_ADDOPTS": "-p fake_rollouts"}
    return subprocess.Popen(
        [*command, f"--results={run_dir.parent}", *arguments],
        cwd=ROOT,
        env={**inherited, **fake, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err
