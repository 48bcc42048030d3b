"""What the report says of how the episodes were played."""

import json
from pathlib import Path

import pytest
from synthetic_run import core_plan, rows_by_case, write_run

from bench.report.playing import hard_resets, largest_batch, playing
from bench.report.write import write_report
from wmvla.rollout.journal import Row

PLAN = core_plan("smoke", episodes=4)
ROWS = rows_by_case(PLAN, {"E0-none": [True, False, "error", True]})["E0-none-s0"]


def old(row: Row) -> Row:
    return {key: value for key, value in row.items() if key not in ("reset", "policy_batch")}


def test_means_are_of_the_episodes_that_were_played() -> None:
    record = {"seconds": 30.0, "played": 4, "rollout_workers": 2}
    found = playing("E0-none-s0", ROWS, record)
    played = [ROWS[0], ROWS[1], ROWS[3]]
    assert found["episodes"] == 3
    for key in ("seconds", "cpu_seconds", "steps", "queries", "renders"):
        assert found[key] == pytest.approx(sum(row[key] for row in played) / 3)
    assert (found["episodes_per_minute"], found["rollout_workers"]) == (8.0, 2)
    assert (found["hard_resets"], found["policy_batch"]) == (0, 1)


@pytest.mark.parametrize(
    "record", [None, {"seconds": 3.0}, {"seconds": 0.1, "played": 0, "rollout_workers": None}]
)
def test_what_is_not_known_is_not_told(record: dict[str, object] | None) -> None:
    found = playing("E0-none-s0", [old(row) for row in ROWS], record)
    assert (found["episodes_per_minute"], found["rollout_workers"], found["hard_resets"]) == (
        None,
        None,
        None,
    )
    assert playing("E0-none-s0", [], record)["cpu_seconds"] is None


def test_hard_resets_and_batches_are_counted() -> None:
    rows = [
        {**ROWS[0], "reset": "hard", "policy_batch": 5},
        {**ROWS[1], "task": 2, "reset": "hard"},
        ROWS[3],
    ]
    rows += [{**ROWS[3], "task": 2, "reset": "hard"}, old(ROWS[0])]
    assert hard_resets({"E0": rows[:2], "E1": rows[2:]}) == {
        "libero_object task 2": 2,
        "libero_object task 7": 1,
    }
    assert list(hard_resets({"E0": rows})) == ["libero_object task 2", "libero_object task 7"]
    assert (largest_batch(rows), largest_batch([old(ROWS[0])]), largest_batch([])) == (5, 1, 1)


def test_the_report_tells_gaps_hard_resets_and_batches(tmp_path: Path) -> None:
    run_dir = write_run(
        tmp_path / "run", PLAN, {"E0-none": [True, None, True, None], "E1-zero": [True] * 4}
    )
    journal = run_dir / "episodes" / "E0-none-s0.jsonl"
    rows = [json.loads(line) for line in journal.read_text().splitlines()]
    journal.write_text(
        "".join(json.dumps({**row, "reset": "hard", "policy_batch": 7}) + "\n" for row in rows)
    )
    write_report(run_dir)
    told = json.loads((run_dir / "report.json").read_text())
    assert {"case": "E0-none-s0", "number": 2, "episodes": "1, 3"} in told["missing"]
    assert told["missing"][1] == {"case": "E2-pred-s0", "number": 4, "episodes": "0-3"}
    assert "2 of 6 resets were hard" in told["resets_note"]
    assert "libero_object task 7 (2)" in told["resets_note"]
    assert "batches of up to 7" in told["batch_note"]
    assert "--deterministic avoids this" in told["batch_note"]
    for name in ("report.md", "report.html"):
        shown = (run_dir / name).read_text()
        for note in (told["resets_note"], told["batch_note"], "E0-none-s0 2 (1, 3)"):
            assert note in shown, (name, note)
