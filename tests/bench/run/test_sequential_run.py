"""Sequential runs as a user starts them, on a fake simulator: look by look, killed between, and
with a rollout that fails."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from fake_runs import EPISODES, run_here, start, trained
from synthetic_run import core_plan

from bench.judge.analysis import analyse
from bench.judge.missing import missing_episodes
from bench.judge.progress import progress_of
from bench.plan.document import Plan
from bench.record.journal import read_journals
from wmvla.rollout.journal import Row


@pytest.fixture(scope="module")
def plan() -> Plan:
    return core_plan("smoke", episodes=EPISODES, sequential="pocock")


@pytest.fixture(scope="module")
def run_dir(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was not interrupted."""
    run_dir = trained(plan, tmp_path_factory.mktemp("sequential") / "results")
    code, out, err = run_here(run_dir, "--sequential=pocock")
    assert code == 0, out + err
    return run_dir


def played(plan: Plan, run_dir: Path) -> dict[str, list[Row]]:
    timed = ("seconds", "cpu_seconds", "policy_batch")
    rows = read_journals(plan, run_dir)
    return {
        case: [{k: v for k, v in row.items() if k not in timed} for row in lines]
        for case, lines in rows.items()
    }


def test_a_run_plays_what_is_wanted_and_no_more(plan: Plan, run_dir: Path) -> None:
    rows = read_journals(plan, run_dir)
    progress = progress_of(plan, rows)
    assert missing_episodes(plan, rows) == {}
    assert progress.ends == progress.looks
    assert sum(map(len, rows.values())) < len(rows) * EPISODES, "something ended early"
    for case in plan.rollout_cases():
        wanted = plan.rows_until(progress.looks[case.rollout])
        assert [row["index"] for row in rows[case.id]] == [row.index for row in wanted]
        record = json.loads((run_dir / "cases" / f"{case.id}.json").read_text())
        assert record["episodes"] == record["played"] == len(wanted)
    report = json.loads((run_dir / "report.json").read_text())
    assert report["complete"] is True
    assert "SEQUENTIAL=pocock" in report["reproduce"]


def test_killed_between_looks_it_goes_on_as_if_it_had_not_been(
    plan: Plan, run_dir: Path, tmp_path: Path
) -> None:
    again = trained(plan, tmp_path / "results")
    doomed = start(again, "--sequential=pocock", FAKE_STEP_SECONDS="0.05")
    begun = again / "episodes" / "E2-pred-s0.jsonl"
    deadline = time.monotonic() + 60
    while (
        not (begun.exists() and begun.read_bytes().count(b"\n") >= 2)
        and time.monotonic() < deadline
    ):
        time.sleep(0.02)
    os.killpg(doomed.pid, signal.SIGKILL)
    doomed.communicate()
    assert not (again / "cases" / "E0-none-s0.json").exists(), "it was killed before the end"
    code, out, err = run_here(again, "--sequential=pocock")
    assert code == 0, out + err
    assert played(plan, again) == played(plan, run_dir)


def test_a_failed_rollout_stops_those_alone_that_wait_for_it(plan: Plan, tmp_path: Path) -> None:
    """E1's checkpoint cannot be read: the claims without E1 are played to their end."""
    run_dir = trained(plan, tmp_path / "results")
    record = run_dir / "cases" / "E1-train-s0.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "artefacts": {}}))
    code, out, err = run_here(run_dir, "--sequential=pocock")
    assert code == 1, out + err
    rows = read_journals(plan, run_dir)
    assert rows["E1-zero-s0"] == []
    assert {
        claim.id: found.complete
        for claim, found in zip(plan.claims, analyse(plan, rows), strict=True)
    } == {"E1 = E0": False, "E2 > E0": True, "pred > zero": True, "random < pred": True}
    assert (run_dir / "failures" / "E1-zero-s0.json").exists()
    assert json.loads((run_dir / "report.json").read_text())["complete"] is False


def test_shards_are_refused(run_dir: Path) -> None:
    code, out, err = run_here(run_dir, "--sequential=pocock", "--shard=1/2")
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line == (
        "error: --sequential cannot be used with shards (this is 1/2): a look needs the "
        "episodes of all shards; leave one of the two out"
    )
