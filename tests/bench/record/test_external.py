"""What others measured: an eval_info.json of stock lerobot-eval, the published tables, and that
neither decides anything."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from synthetic_run import REALISTIC, core_plan, drawn_outcomes, write_run

from bench.cli import main
from bench.compare.context import beside
from bench.compare.import_lerobot import read_eval_info
from bench.record.external import PUBLISHED, load_external, read_externals
from bench.report.write import write_report
from wmvla.errors import UserError
from wmvla.recipe import EpisodeRow
from wmvla.rollout.summary import lerobots_summary

RESOURCES = Path(__file__).parents[2] / "resources"
STOCK = RESOURCES / "eval_info" / "stock_lerobot_0.6.1.json"
"""Written by stock lerobot-eval: six episodes of the base policy of core at mini scale."""
BAD = sorted((RESOURCES / "bad" / "eval_info").glob("*.json"))
SCHEMA = json.loads(
    (
        Path(__file__).parents[3] / "bench" / "formats" / "schemas" / "external.schema.json"
    ).read_text()
)


def test_what_stock_lerobot_wrote_is_imported() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    external = read_eval_info(STOCK, "E0-none")
    (table,) = external.tables
    assert (table.suite, table.tasks, table.successes, table.episodes) == (
        "libero_object",
        (7,),
        5,
        6,
    )
    assert [(count.task, count.successes) for count in table.by_task] == [(7, 5)]
    jsonschema.validate(external.to_json(), SCHEMA)


def test_what_our_own_evaluation_writes_is_understood(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`lerobot-wm-eval` lists what it could not play under ``not_played``; here also all episodes
    of a task."""
    rows = [EpisodeRow(i, "libero_object", 7 if i < 7 else 8, i, i, i, 0) for i in range(9)]
    played = {i: {"status": "ok", "success": i != 1, "error": None} for i in range(6)}
    broken = {i: {"status": "timeout", "success": False, "error": "hung"} for i in (6, 7, 8)}
    info = lerobots_summary(rows, played | broken, 60.0, 9, lambda row: tmp_path / "none.mp4")
    path = tmp_path / "eval_info.json"
    path.write_text(json.dumps(info))
    assert main(["import", str(path), "--as", "E0-none", "--results", str(tmp_path)]) == 0
    assert "5 of 6 solved (83.3 %), UNPAIRED; 3 more could not be played" in capsys.readouterr().out
    (table,) = load_external(tmp_path / "imported" / "E0-none.json").tables
    assert (table.tasks, table.episodes, table.not_played) == ((7,), 6, 3)


@pytest.mark.parametrize(
    ("key", "said"),
    [("overall", float("nan")), ("overall", 100.0), ("overall", None), ("libero_object", 50)],
)
def test_a_rate_that_its_tasks_contradict_is_refused(
    tmp_path: Path, key: str, said: object
) -> None:
    info = json.loads(STOCK.read_text())
    (info if key == "overall" else info["per_group"])[key]["pc_success"] = said
    path = tmp_path / "eval_info.json"
    path.write_text(json.dumps(info))
    with pytest.raises(UserError, match=rf"{key}.pc_success' is .*, but its tasks have 83.3333 %"):
        read_eval_info(path, "E0-none")


def test_an_imported_arm_stands_in_the_report_and_changes_no_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = core_plan("mini")
    run = write_run(tmp_path / "run", plan, drawn_outcomes(plan, REALISTIC))
    before = json.loads(write_report(run).with_suffix(".json").read_text())
    assert main(["import", str(STOCK), "--as", "E0-none", "--into", str(run)]) == 0
    assert main(["import", str(STOCK), "--as", "E0-none", "--into", str(run)]) == 0, (
        "the same again is no other"
    )
    after = json.loads(write_report(run).with_suffix(".json").read_text())
    rows = after.pop("beside")["rows"]
    before.pop("beside")
    assert after == before
    (row,) = [row for row in rows if row["who"] == "LeRobot evaluation"]
    assert (row["successes"], row["episodes"], row["ours_episodes"], row["why_not_ours"]) == (
        5,
        6,
        24,
        None,
    )
    for page in ("report.md", "report.html"):
        assert "its episodes cannot be paired" in (run / page).read_text()
    capsys.readouterr()
    assert main(["compare", str(run), str(run / "imported" / "E0-none.json"), "--unpaired"]) == 0
    assert capsys.readouterr().out.startswith("UNPAIRED, no regression is shown in one comparison")


def test_names_of_others_are_inert_in_the_report(tmp_path: Path) -> None:
    plan = core_plan("mini")
    run = write_run(tmp_path / "run", plan, drawn_outcomes(plan, REALISTIC))
    external = read_eval_info(STOCK, "E0-none").to_json() | {
        "name": "<script>alert(1)</script>",
        "flaws": ["<img src=x>."],
    }
    (run / "imported").mkdir()
    (run / "imported" / "a.json").write_text(json.dumps(external))
    page = write_report(run).read_text()
    assert "<script>alert(1)" not in page
    assert "<img src=x>" not in page


def test_the_published_tables_say_what_was_published() -> None:
    paper, reference = sorted(
        read_externals(PUBLISHED), key=lambda each: each.name != "SmolVLA paper"
    )
    for each in (paper, reference):
        jsonschema.validate(each.to_json(), SCHEMA)
    rates = [
        (table.rollout, round(100 * table.successes / table.episodes, 1))
        for table in reference.tables
    ]
    assert rates == [
        ("E0-none", 89.5),
        ("E0-none", 83.6),
        ("E1-zero", 88.5),
        ("E1-zero", 85.7),
        ("E2-pred", 84.0),
    ]
    by_task = [
        [100 * count.successes / count.episodes for count in table.by_task]
        for table in reference.tables
    ]
    assert by_task[1] == [76, 96, 84, 94, 82, 70, 84, 92, 72, 86]
    assert by_task[3] == [80, 94, 86, 94, 94, 66]
    assert by_task[4] == [78.5, 89.5]
    assert [round(100 * table.successes / table.episodes) for table in paper.tables] == [
        90,
        96,
        92,
        71,
    ]
    assert any("ignored the benchmark's initial states" in flaw for flaw in reference.flaws)
    assert any(flaw.startswith("One training seed") for flaw in reference.flaws)


def test_they_are_linked_where_results_lie() -> None:
    linked = Path(__file__).parents[3] / "results" / "reference" / "published"
    assert linked.resolve() == PUBLISHED.resolve()


def test_our_success_stands_beside_a_table_of_the_same_tasks_only() -> None:
    plan = core_plan("full", episodes=2)
    rows = {
        "E2-pred-s0": [{"task": task, "status": "ok", "success": task == 0} for task in range(10)]
    }
    told = beside(plan, rows, read_externals(PUBLISHED))
    assert told is not None
    (row,) = [row for row in told["rows"] if row["rollout"] == "E2-pred"]
    assert (row["where"], row["ours"], row["ours_episodes"]) == (
        "libero_spatial, tasks 0-1",
        0.5,
        2,
    )
    (other,) = [row for row in told["rows"] if row["where"].startswith("libero_goal")]
    assert (other["ours"], other["why_not_ours"]) == (
        None,
        "other tasks: this run plays libero_spatial, tasks 0-9",
    )


def test_a_run_of_other_scenes_shows_no_table_of_libero() -> None:
    from synthetic_run import plan_of

    assert beside(plan_of("controls"), {}, read_externals(PUBLISHED)) is None


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_damaged_file_is_one_line(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", str(path), "--as", "E0-none", "--results", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {path}: ")
    assert list(tmp_path.iterdir()) == []


def test_there_are_damaged_files() -> None:
    assert len(BAD) >= 8


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"tables": []}, "'tables' must name at least one"),
        ({"version": 2}, "'version' is 2"),
        ({"verdict": "SUPPORTED"}, "unknown key 'verdict'"),
        ({"episodes": 10**400}, "episodes"),
        ({"successes": 7}, "'tables[0]' has 7 successes of 6 episodes"),
        ({"successes": 4}, "its tasks add up to 5 of 6"),
        ({"tasks": [7, 8]}, "must name the tasks of 'tables[0].tasks'"),
        ({"tasks": []}, "'tables[0].tasks' must name at least one"),
    ],
)
def test_an_external_result_that_cannot_be_is_refused(
    tmp_path: Path, change: dict[str, Any], complaint: str
) -> None:
    content = read_eval_info(STOCK, "E0-none").to_json()
    for key, value in change.items():
        (content if key in ("tables", "version", "verdict") else content["tables"][0])[key] = value
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"a\.json: ") as refused:
        load_external(path)
    assert complaint in str(refused.value)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([str(STOCK), "--as", "../E0"], "--as '../E0': must be letters"),
        ([str(STOCK), "--as", "E0-none", "--into", "{0}/none"], "not a run directory"),
        ([str(STOCK), "--as", "E0-none", "--into", "{0}", "--results", "{0}"], "are two places"),
        (["{0}/none.json", "--as", "E0-none"], "no such file"),
    ],
)
def test_bad_use_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    assert main(["import", *(argument.format(tmp_path) for argument in arguments)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert complaint in line


def test_another_result_of_that_name_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", str(STOCK), "--as", "E0-none", "--results", str(tmp_path)]) == 0
    info = json.loads(STOCK.read_text())
    info["per_task"][0]["metrics"]["successes"][1] = True
    for part in (info["overall"], info["per_group"]["libero_object"]):
        part["pc_success"] = 100.0
    (tmp_path / "eval_info.json").write_text(json.dumps(info))
    assert (
        main(
            [
                "import",
                str(tmp_path / "eval_info.json"),
                "--as",
                "E0-none",
                "--results",
                str(tmp_path),
            ]
        )
        == 2
    )
    assert "another result has this name" in capsys.readouterr().err
