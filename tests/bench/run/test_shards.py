"""Shards as a user starts them: real `wmbench run` processes beside each other in one run
directory, on a fake simulator."""

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

from bench import cli
from bench.judge.missing import missing_episodes
from bench.plan.document import Plan
from bench.record.journal import read_journals
from wmvla.recipe import EpisodeRow
from wmvla.rollout.journal import Row
from wmvla.rollout.shard import Shard, rows_of


@pytest.fixture(scope="module")
def plan() -> Plan:
    return core_plan("smoke", episodes=EPISODES)


@pytest.fixture(scope="module")
def run_dir(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(plan, tmp_path_factory.mktemp("shards") / "results")


def timeless(row: Row) -> Row:
    return {key: value for key, value in row.items() if key not in ("seconds", "cpu_seconds")}


def indices(rows: list[EpisodeRow]) -> set[int]:
    return {row.index for row in rows}


def lines_of(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_shards_gaps_and_the_whole(
    plan: Plan, run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Two shards beside each other: one says so itself, one is told by its launcher.
    both = [
        start(run_dir, "--shard=1/2", FAKE_STEP_SECONDS="0.01"),
        start(run_dir, RANK="1", WORLD_SIZE="2", FAKE_STEP_SECONDS="0.01"),
    ]
    for code, out, err in map(finished, both):
        assert code == 0, out + err
    whole = read_journals(plan, run_dir)
    assert missing_episodes(plan, whole) == {}
    for case in plan.rollout_cases():
        assert not (run_dir / "episodes" / f"{case.id}.jsonl").exists()
        assert not (run_dir / "cases" / f"{case.id}.json").exists(), "a shard writes no record"
        for number in (1, 2):
            rows = lines_of(run_dir / "episodes" / f"{case.id}.shard-{number}-of-2.jsonl")
            assert {row["index"] for row in rows} == indices(
                rows_of(Shard(number, 2), plan.episodes)
            )
        for row in whole[case.id]:
            assert row["success"] == succeeds(str(case.mode), row["noise_seed"])
            assert (row["reset"], row["policy_batch"] >= 1) == ("cheap", True)
    assert not (run_dir / "report.json").exists()

    # What a shard's kill -9 leaves: a journal that ends in half a line. Another lost its file.
    cut = run_dir / "episodes" / "E0-none-s0.shard-1-of-2.jsonl"
    lines = cut.read_text().splitlines(keepends=True)
    cut.write_text("".join(lines[:3]) + lines[3][:40])
    (run_dir / "episodes" / "E2-pred-s0.shard-2-of-2.jsonl").unlink()
    gaps = missing_episodes(plan, read_journals(plan, run_dir))
    assert gaps == {
        "E0-none-s0": sorted(json.loads(line)["index"] for line in lines[3:]),
        "E2-pred-s0": sorted(indices(rows_of(Shard(2, 2), plan.episodes))),
    }
    assert cli.main(["status", str(run_dir)]) == 0
    shown = capsys.readouterr().out
    assert re.search(
        r"E0-none-s0 +begun +8/10 episodes.* 2 missing: \d+(, |-)\d+$", shown, re.MULTILINE
    )

    # The same command without --shard plays the gaps and nothing else, writes the records and the
    # report.
    kept = {path: path.read_text() for path in (run_dir / "episodes").iterdir()}
    code, out, err = run_here(run_dir, "--deterministic")
    assert code == 0, out + err
    assert out.splitlines()[-1] == f"report: {run_dir / 'report.html'}"
    assert {path: path.read_text() for path in kept} == kept
    for case in plan.rollout_cases():
        own = run_dir / "episodes" / f"{case.id}.jsonl"
        assert (
            [row["index"] for row in sorted(lines_of(own), key=lambda row: row["index"])]
            == gaps[case.id]
            if (case.id in gaps)
            else not own.exists()
        )
        record = json.loads((run_dir / "cases" / f"{case.id}.json").read_text())
        assert record["episodes"] == EPISODES
        assert record["played"] == len(gaps.get(case.id, []))
        assert (record["rollout_workers"] or 0) > 0 or not record["played"]
    again = read_journals(plan, run_dir)
    for case_id, rows in whole.items():
        unlike = {"policy_batch"}  # the gaps were played one query at a time
        assert [
            {k: v for k, v in timeless(row).items() if k not in unlike} for row in again[case_id]
        ] == [{k: v for k, v in timeless(row).items() if k not in unlike} for row in rows]
    assert {row["policy_batch"] for row in lines_of(run_dir / "episodes" / "E2-pred-s0.jsonl")} == {
        1
    }
    assert json.loads((run_dir / "report.json").read_text())["complete"] is True

    # Nothing is left for a shard of any split.
    before = {path: path.read_bytes() for path in (run_dir / "episodes").iterdir()}
    code, out, err = run_here(run_dir, "--shard=3/3")
    assert code == 0, out + err
    assert f"shard 3/3: 50 of 50 episodes are recorded in {run_dir}" in out
    assert {path: path.read_bytes() for path in (run_dir / "episodes").iterdir()} == before


def test_a_killed_shard_continues_beside_another(plan: Plan, tmp_path: Path) -> None:
    """kill -9 of the shard's processes, all of them, while it plays; meanwhile the other shard
    plays on."""
    run_dir = trained(plan, tmp_path / "results")
    other = start(run_dir, "--shard=2/2")
    doomed = start(run_dir, "--shard=1/2", FAKE_STEP_SECONDS="0.05")
    begun = run_dir / "episodes" / "E0-none-s0.shard-1-of-2.jsonl"
    deadline = time.monotonic() + 60
    while (
        not (begun.exists() and begun.read_bytes().count(b"\n") >= 2)
        and time.monotonic() < deadline
    ):
        time.sleep(0.02)
    os.killpg(doomed.pid, signal.SIGKILL)
    doomed.communicate()
    survived = begun.read_text().splitlines()[:2]
    again = start(run_dir, "--shard=1/2")
    for code, out, err in map(finished, (other, again)):
        assert code == 0, out + err
    assert begun.read_text().splitlines()[:2] == survived
    rows = read_journals(plan, run_dir)
    assert missing_episodes(plan, rows) == {}
    assert [row["success"] for row in rows["E2-pred-s0"]] == [
        succeeds("pred", row.noise_seed) for row in plan.episodes
    ]


def test_a_shard_does_not_train(plan: Plan, run_dir: Path) -> None:
    record = run_dir / "cases" / "E2-train-s0.json"
    text = record.read_text()
    record.unlink()
    try:
        code, _, err = run_here(run_dir, "--shard=1/4")
    finally:
        record.write_text(text)
    assert code == 2
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert (
        line
        == "error: E2-pred-s0 needs E2-train-s0, which is not done, and a shard only plays; first:"
        " pytest suites/ --suite=core --scale=smoke --machine=cpu --episodes=10"
        f" --results={run_dir.parent} -k E2-train-s0"
    )


@pytest.mark.parametrize("text", ["0/4", "5/4", "four", ""])
def test_nonsense_is_one_line(run_dir: Path, text: str) -> None:
    code, out, err = run_here(run_dir, f"--shard={text}")
    assert (code, out) == (2, "")
    assert (
        err
        == f"error: SHARD={text}: give the part and the number of parts, from 1/4 to 4/4 for four\n"
    )
