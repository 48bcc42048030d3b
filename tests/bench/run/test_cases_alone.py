"""`wmbench run --case`: one case of a run beside others, on a fake simulator; and what SIGTERM
leaves of it."""

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest
from fake_rollouts import succeeds
from fake_runs import EPISODES, finished, run_here, start, trained
from synthetic_run import core_plan

from bench.judge.missing import missing_episodes
from bench.plan.document import Plan
from bench.record.journal import read_journals


@pytest.fixture
def plan() -> Plan:
    return core_plan("smoke", episodes=EPISODES)


@pytest.fixture
def run_dir(plan: Plan, tmp_path: Path) -> Path:
    return trained(plan, tmp_path / "results")


def error_of(run_dir: Path, *arguments: str) -> tuple[int, str]:
    code, _, err = run_here(run_dir, *arguments)
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    return code, line


def test_cases_beside_each_other(plan: Plan, run_dir: Path) -> None:
    slow = start(run_dir, "--case=E0-none-s0", FAKE_STEP_SECONDS="0.02")
    parts = [start(run_dir, "--case=E2-pred-s0", f"--shard={number}/2") for number in (1, 2)]
    for code, out, err in map(finished, (slow, *parts)):
        assert code == 0, out + err
    assert (run_dir / "cases" / "E0-none-s0.json").exists()
    assert not (run_dir / "cases" / "E2-pred-s0.json").exists()
    code, out, err = run_here(run_dir, "--case=E2-pred-s0")
    assert code == 0, out + err
    record = json.loads((run_dir / "cases" / "E2-pred-s0.json").read_text())
    assert (record["episodes"], record["played"]) == (EPISODES, 0)
    assert set(missing_episodes(plan, read_journals(plan, run_dir))) == {
        "E1-zero-s0",
        "E2-zero-s0",
        "E2-random-s0",
    }
    assert not (run_dir / "report.json").exists()


def test_refusals(run_dir: Path) -> None:
    (run_dir / "cases" / "E2-train-s0.json").unlink()
    code, line = error_of(run_dir, "--case=E2-pred-s0")
    assert (code, line.partition("; first")[0]) == (
        2,
        "error: E2-pred-s0 needs E2-train-s0, which is not done, and --case does that case alone",
    )
    assert error_of(run_dir, "--case=E2-prd-s0") == (
        2,
        "error: unknown case 'E2-prd-s0'; did you mean 'E2-pred-s0'?",
    )
    assert error_of(run_dir, "--case=base", "--shard=1/2") == (
        2,
        "error: --case=base: only rollouts can be split into shards, and this is shard 1/2",
    )
    assert error_of(run_dir, "--case=E2-pred-s0", "--sequential") == (
        2,
        (
            "error: --sequential needs all rollouts together, for its looks; give "
            "--case=E0-none-s0 too"
        ),
    )


def test_sequential_rollouts_without_one_arm(tmp_path: Path) -> None:
    """All rollouts named, one arm not trained: the others are played to their end, and that one
    says what it lacks."""
    plan = core_plan("smoke", episodes=EPISODES, sequential="obrien-fleming")
    run_dir = trained(plan, tmp_path / "results")
    (run_dir / "cases" / "E1-train-s0.json").unlink()
    named = [f"--case={case.id}" for case in plan.rollout_cases()]
    code, out, err = run_here(run_dir, "--sequential", *named)
    assert code == 1, out + err
    assert (
        json.loads((run_dir / "failures" / "E1-zero-s0.json").read_text())["error"]
        == "E1-zero-s0 needs E1-train-s0, which is not done"
    )
    done = {
        case.id for case in plan.rollout_cases() if (run_dir / "cases" / f"{case.id}.json").exists()
    }
    assert done == {case.id for case in plan.rollout_cases()} - {"E1-zero-s0"}


def test_a_shard_that_fails_says_why(run_dir: Path) -> None:
    """Nobody else does: its job's dependents are never started."""
    provenance = json.loads((run_dir / "provenance.json").read_text())
    (run_dir / "provenance.json").write_text(
        json.dumps({**provenance, "gl_renderer": "another one"})
    )
    assert error_of(run_dir, "--case=E2-pred-s0", "--shard=1/2")[0] == 2
    assert (
        "another one" in json.loads((run_dir / "failures" / "E2-pred-s0.json").read_text())["error"]
    )


@pytest.mark.parametrize("everybody", [False, True], ids=["wmbench", "group"])
def test_sigterm_stops_in_order(plan: Plan, run_dir: Path, everybody: bool) -> None:
    """Slurm signals all processes of a step, a user's kill one. Either way nothing is lost, and the
    same command goes on."""
    process = start(run_dir, "--case=E0-none-s0", FAKE_STEP_SECONDS="0.05")
    journal = run_dir / "episodes" / "E0-none-s0.jsonl"
    deadline = time.monotonic() + 60
    while (
        not (journal.exists() and journal.read_bytes().count(b"\n") >= 2)
        and time.monotonic() < deadline
    ):
        time.sleep(0.02)
    if everybody:
        os.killpg(process.pid, signal.SIGTERM)
    else:
        process.send_signal(signal.SIGTERM)
    code, out, err = finished(process)
    assert code == 143, out + err
    kept = journal.read_bytes()
    assert 2 <= kept.count(b"\n") < EPISODES
    assert kept.endswith(b"\n")
    assert not (run_dir / "failures" / "E0-none-s0.json").exists(), "being stopped is no failure"
    assert not re.search(r"^error:", err, re.MULTILINE)
    code, out, err = run_here(run_dir, "--case=E0-none-s0")
    assert code == 0, out + err
    assert journal.read_bytes().startswith(kept)
    rows = read_journals(plan, run_dir)["E0-none-s0"]
    assert [row["success"] for row in rows] == [
        succeeds("none", row.noise_seed) for row in plan.episodes
    ]
    assert {row["status"] for row in rows} == {"ok"}
