"""An episode counts as solved by its status and its success, wherever a rate is shown."""

import json
from pathlib import Path

import pytest
from synthetic_run import REALISTIC, core_plan, drawn_outcomes, write_run

from bench.commands.status import status_of
from bench.compare.regressions import compare
from bench.compare.sides import load_sides
from bench.forecast.past_runs import discordances, find_past_runs
from bench.judge.verdict import judge
from bench.record.journal import read_journals
from bench.record.run import read_run
from bench.report.content import report_content
from bench.report.discordant import discordant
from bench.report.drawings.grids import grids
from bench.report.history.runs import read_history
from bench.run.film_choice import choose
from bench.run.stages.context import Context
from bench.run.stages.rollout import run as play
from wmvla.rollout.summary import lerobots_summary, summary_lines
from wmvla.rollout.tally import Tally, broken, succeeded, tally

CASE = "E2-pred-s0"
PLAN = core_plan("mini", episodes=6)
SOLVED, BROKEN = 4, 2


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """E2-pred solves its first four episodes; the last two ended in an error, and say that they are
    solved. E0 solves none."""
    outcomes = {**drawn_outcomes(PLAN, REALISTIC), CASE: [True] * 6, "E0-none-s0": [False] * 6}
    folder = write_run(tmp_path / "results" / PLAN.run_name, PLAN, outcomes)
    journal = folder / "episodes" / f"{CASE}.jsonl"
    rows = [json.loads(line) for line in journal.read_text().splitlines()]
    for row in rows[SOLVED:]:
        row |= {"status": "error", "error": "the simulator died"}
    journal.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder


def test_a_tally_counts_by_status_and_success() -> None:
    rows = [
        {"status": status, "success": success}
        for status in ("ok", "error", "timeout")
        for success in (True, True, False)
    ]
    assert tally(rows) == Tally(successes=2, failures=1, errors=3, timeouts=3)
    assert (tally(rows).episodes, tally(rows).broken, tally(rows).rate) == (9, 6, 2 / 9)
    assert list(map(succeeded, rows)) == [True, True] + [False] * 7
    assert list(map(broken, rows)) == [False] * 3 + [True] * 6
    assert tally([]).rate is None
    assert Tally(1, 2, 3, 4) + Tally(4, 3, 2, 1) == Tally(5, 5, 5, 5)


def test_status(run_dir: Path) -> None:
    case = next(each for each in status_of(read_run(run_dir))["cases"] if each["case"] == CASE)
    assert (case["finished"], case["successes"], case["broken"]) == (6, SOLVED, BROKEN)


def test_verdict_and_report(run_dir: Path) -> None:
    run = read_run(run_dir)
    for found in (judge(PLAN, run.rows).rates, judge(PLAN, run.rows).seed_rates):
        rate = next(each for each in found if each.rollout == "E2-pred")
        assert (rate.successes, rate.errors, rate.rate) == (SOLVED, BROKEN, SOLVED / 6)
    claims = {each.claim.id: each for each in judge(PLAN, run.rows).claims}
    assert claims["E2 > E0"].contrast.left_only == SOLVED
    differing = discordant(run)
    shown = next(each for each in differing if each["claim"] == "E2 > E0")
    assert shown["number"] == SOLVED
    content = report_content(run, differing)
    (rate,) = (each for each in content["rates"] if each["rollout"] == "E2-pred")
    assert (rate["successes"], rate["seeds"][0]["successes"]) == (SOLVED, SOLVED)
    text = json.dumps(grids(run))
    assert text.count(f"{CASE}, init") == 6
    assert text.count(f"{CASE}, init") - text.count(f"{CASE}, init 24: error") == 5
    assert f"{CASE}, init 23: solved in" in text
    assert f"{CASE}, init 25: error" in text


def test_compare(run_dir: Path, tmp_path: Path) -> None:
    other = write_run(
        tmp_path / "results" / "other", PLAN, {**drawn_outcomes(PLAN, REALISTIC), CASE: [True] * 6}
    )
    found = compare(load_sides([run_dir, other])).rollouts
    (candidate,) = (each.candidate for each in found if each.candidate.rollout == "E2-pred")
    assert (candidate.baseline.successes, candidate.baseline.broken) == (SOLVED, BROKEN)
    assert (candidate.later.successes, candidate.won) == (6, BROKEN)


def test_history(run_dir: Path) -> None:
    (entry,) = read_history(run_dir.parent).entries
    (rate,) = (each for each in entry.content["rates"] if each["rollout"] == "E2-pred")
    assert (rate["successes"], rate["broken"], rate["rate"]) == (SOLVED, BROKEN, SOLVED / 6)


def test_what_past_runs_say_of_the_next(run_dir: Path) -> None:
    runs, _ = find_past_runs(PLAN, [run_dir.parent])
    found = discordances(PLAN, runs)["E2 > E0"]
    assert (found.measured, found.found) == (6, SOLVED)


def test_films(run_dir: Path) -> None:
    """A broken episode has nothing to show, whatever it says of its success."""
    films = choose(PLAN, read_journals(PLAN, run_dir), True, True, (), 100)
    assert not [index for case, index in films.single if case == CASE]
    pairs = [index for left, right, index in films.pairs if (left, right) == (CASE, "E0-none-s0")]
    assert pairs == list(range(SOLVED))


def test_the_record_of_a_rollout(run_dir: Path) -> None:
    assert play(Context(PLAN, run_dir, None), PLAN.case(CASE))["succeeded"] == SOLVED


def test_the_summary_of_the_evaluation_command(run_dir: Path) -> None:
    recorded = {row["index"]: row for row in read_journals(PLAN, run_dir)[CASE]}
    info = lerobots_summary(PLAN.episodes, recorded, 1.0, 6, lambda row: Path("none"))
    assert info["overall"]["n_episodes"] == SOLVED
    assert len(info["not_played"]) == BROKEN
    told = " ".join(summary_lines(info))
    assert f"{SOLVED} of {SOLVED} succeeded" in told
    assert f"between {100 * SOLVED / 6:.1f} and 100.0 %" in told


def test_the_running_rate_of_the_evaluation_command(run_dir: Path) -> None:
    from wmvla.commands.evaluation.run import Evaluation

    evaluation = Evaluation.__new__(Evaluation)
    evaluation.rows = list(PLAN.episodes)
    evaluation.recorded = {row["index"]: row for row in read_journals(PLAN, run_dir)[CASE]}
    assert evaluation._success_so_far() == f"{SOLVED}/{SOLVED} = 100.0% succeeded"
