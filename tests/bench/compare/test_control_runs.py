"""What control runs beside a run say of it: which count, what they showed, and what the report
tells of that."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from control_runs import (
    CODE,
    OTHER,
    PLAN,
    a_gain,
    a_run,
    at_smoke_scale,
    no_gain,
    of_another_machine,
    of_other_code,
    of_unknown_code,
    unfinished,
    with_a_damaged_journal,
    with_a_damaged_plan,
    with_fewer_episodes,
    with_less_training,
    with_the_plan_of_another_suite,
    without_an_arm,
)
from fake_runs import EPISODES, ROOT, run_here, trained
from synthetic_run import REALISTIC, Outcome, core_plan, drawn_outcomes, plan_of

from bench import cli
from bench.compare.control_runs import code_of, look_for_controls, write_controls
from bench.record.controls import CONTROLS_FILE, Controls, read_controls
from bench.record.run import Run
from bench.report.write import write_report
from wmvla.errors import UserError


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with both controls beside it, each with the answer that is known. Not to be changed."""
    results = tmp_path_factory.mktemp("controls") / "results"
    a_run(results, PLAN, no_gain(PLAN))
    for suite, outcomes in (("controls", a_gain), ("controls-negative", no_gain)):
        plan = plan_of(suite, "mini")
        write_report(a_run(results, plan, outcomes(plan)))
    return results


@pytest.fixture
def results(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "results"))


def look(results: Path) -> Controls:
    return look_for_controls(PLAN, results / PLAN.run_name)


def control(results: Path, suite: str = "controls") -> Path:
    """The folder of the control run at mini scale."""
    (found,) = results.glob(f"{suite}-mini-*")
    return found


def reported(results: Path) -> dict[str, Any]:
    """report.json of the run, after a look for its controls; the file and the report satisfy their
    schemas."""
    run_dir = results / PLAN.run_name
    write_controls(PLAN, run_dir)
    content: dict[str, Any] = json.loads(write_report(run_dir).with_suffix(".json").read_text())
    for name, document in (
        ("controls", json.loads((run_dir / CONTROLS_FILE).read_text())),
        ("report", content),
    ):
        jsonschema.validate(
            document,
            json.loads(
                (ROOT / "bench" / "formats" / "schemas" / f"{name}.schema.json").read_text()
            ),
        )
    return content


def sentences(results: Path) -> list[str]:
    return [each["sentence"] for each in reported(results)["controls"]["each"]]


def test_both_controls_are_found_and_told(results: Path) -> None:
    positive, negative = look(results).controls
    assert (positive.suite, positive.kind, positive.scale, positive.runs, positive.failed) == (
        "controls",
        "positive",
        "mini",
        1,
        0,
    )
    assert positive.found is not None
    assert negative.found is not None
    assert (positive.found.decision, positive.found.outcome) == ("SUPPORTED", "shown")
    assert positive.found.gains == ("E2 > E0", "pred > zero", "random < pred")
    assert (negative.found.decision, negative.found.outcome, negative.found.gains) == (
        "NOT SUPPORTED",
        "shown",
        (),
    )
    assert negative.found.plan_hash == plan_of("controls-negative", "mini").hash
    assert positive.found.sentence.startswith("SUPPORTED: all 4 claims hold")

    content = reported(results)
    assert content["controls"]["warning"] is None
    names = [control(results, suite).name for suite in ("controls", "controls-negative")]
    assert sentences(results) == [
        (
            "Positive control shown: SUPPORTED, the instrument found the effect that was built "
            f"in ({names[0]}, 2030-01-01, same code)."
        ),
        (
            "Negative control shown: NOT SUPPORTED, the instrument claimed no gain, and no gain "
            f"is possible ({names[1]}, 2030-01-01, same code)."
        ),
    ]
    html, markdown = (
        (results / PLAN.run_name / f"report.{end}").read_text() for end in ("html", "md")
    )
    for name in names:
        assert f'<a href="../{name}/report.html">' in html
        assert f"(../{name}/report.html)" in markdown
        assert (results / PLAN.run_name / f"../{name}/report.html").is_file()
    assert html.index("<h2>Controls</h2>") < html.index("<h2>The claims</h2>")
    assert "Warning" not in markdown


def test_without_a_report_there_is_no_link(results: Path) -> None:
    (control(results) / "report.html").unlink()
    assert [each["has_report"] for each in reported(results)["controls"]["each"]] == [False, True]
    assert (results / PLAN.run_name / "report.html").read_text().count('<a href="../') == 1


def test_without_controls_the_report_says_how_to_get_them(tmp_path: Path) -> None:
    a_run(tmp_path, PLAN, no_gain(PLAN))
    assert sentences(tmp_path) == [
        (
            "Positive control: none of this code version on machine cpu; run make bench"
            " SUITE=controls SCALE=mini MACHINE=cpu."
        ),
        (
            "Negative control: none of this code version on machine cpu; "
            "run make bench SUITE=controls-negative SCALE=mini MACHINE=cpu."
        ),
    ]


@pytest.mark.parametrize(
    ("change", "why", "told"),
    [
        (
            of_other_code,
            "code",
            "it was made by other code; the command would find it finished, so first move it to "
            "another folder.",
        ),
        (of_unknown_code, "code", "it was made by other code"),
        (of_another_machine, "machine", "it was made on another machine."),
        (unfinished, "unfinished", "it is not finished."),
        (at_smoke_scale, "scale", "a run of its scale cannot show anything."),
        (with_fewer_episodes, "changed", "it leaves out arms or episodes"),
        (without_an_arm, "changed", "it leaves out arms or episodes"),
        (with_less_training, "changed", "or its training differs from its suite."),
        (with_a_damaged_journal, "unreadable", "it cannot be read (episodes/E0-none-s11.jsonl"),
        (with_a_damaged_plan, "unreadable", "it cannot be read (plan.json: not valid JSON"),
        (
            with_the_plan_of_another_suite,
            "unreadable",
            "it cannot be read (the plan is of suite 'core'",
        ),
    ],
)
def test_a_control_run_that_does_not_count(results: Path, change: Any, why: str, told: str) -> None:
    change(control(results))
    found = look(results).controls[0]
    assert found.found is None
    assert [each.why for each in found.passed_over] == [why]
    positive, negative = sentences(results)
    assert positive.startswith(
        "Positive control: none of this code version on machine cpu; run make bench SUITE=controls "
    )
    assert f"{found.passed_over[0].run} does not count: " in positive
    assert told in positive
    assert "\n" not in positive
    assert str(results) not in positive, "a report names no folder of this machine"
    assert negative.startswith("Negative control shown")


def test_the_nearest_is_told(results: Path) -> None:
    of_another_machine(control(results))
    plan = plan_of("controls", "mini", seeds=(12,))
    a_run(results, plan, a_gain(plan), code=OTHER)
    assert f"{plan.run_name} does not count: it was made by other code" in sentences(results)[0]


def test_a_control_that_missed_the_effect_is_said_to_have_failed(results: Path) -> None:
    plan = plan_of("controls", "mini")
    shutil.rmtree(control(results))
    a_run(results, plan, no_gain(plan))
    content = reported(results)
    positive, negative = content["controls"]["each"]
    assert positive["outcome"] == "failed"
    assert positive["sentence"].startswith(
        f"Positive control FAILED ({plan.run_name}, 2030-01-01, same code): an effect was built in"
    )
    assert "but the verdict is NOT SUPPORTED: " in positive["sentence"]
    assert negative["outcome"] == "shown"
    assert "the instrument is broken" in content["controls"]["warning"]
    run_dir = results / PLAN.run_name
    assert "<b>Warning.</b> A control failed" in (run_dir / "report.html").read_text()
    assert "> **Warning:** A control failed" in (run_dir / "report.md").read_text()
    before = json.loads((run_dir / "report.json").read_text())["verdict"]
    (run_dir / CONTROLS_FILE).unlink()
    write_report(run_dir)
    assert json.loads((run_dir / "report.json").read_text())["verdict"] == before, (
        "the verdict does not depend on controls"
    )


def test_a_control_that_saw_what_is_not_there_is_said_to_have_failed(results: Path) -> None:
    plan = plan_of("controls-negative", "mini")
    shutil.rmtree(control(results, "controls-negative"))
    a_run(results, plan, a_gain(plan))
    negative = reported(results)["controls"]["each"][1]
    assert negative["outcome"] == "failed"
    assert negative["sentence"] == (
        f"Negative control FAILED ({plan.run_name}, 2030-01-01, same code): no gain is "
        'possible, but the verdict is SUPPORTED in "E2 > E0", "pred > zero", "random < '
        'pred".'
    )


@pytest.mark.parametrize("outcome", [False, "error"])
def test_a_negative_control_that_could_claim_nothing_shows_nothing(
    results: Path, outcome: Outcome
) -> None:
    plan = plan_of("controls-negative", "mini")
    shutil.rmtree(control(results, "controls-negative"))
    a_run(
        results,
        plan,
        {case.rollout: [outcome] * len(plan.episodes) for case in plan.rollout_cases()},
    )
    content = reported(results)
    negative = content["controls"]["each"][1]
    assert negative["outcome"] == "undecided"
    assert "Negative control not shown" in negative["sentence"]
    assert "E0-none solves only 0.0 % of its episodes" in negative["sentence"]
    assert content["controls"]["warning"] is None


def test_the_last_one_speaks_and_earlier_failures_are_counted(results: Path) -> None:
    early, late = plan_of("controls", "mini", seeds=(12,)), plan_of("controls", "mini", seeds=(13,))
    a_run(results, early, no_gain(early), day="2029-12-31")
    positive = reported(results)["controls"]["each"][0]
    assert positive["outcome"] == "shown"
    assert positive["sentence"].endswith(" Of 2 such runs of this code 1 failed.")
    a_run(results, late, no_gain(late), day="2030-01-02")
    positive = reported(results)["controls"]["each"][0]
    assert (positive["run"], positive["outcome"]) == (late.run_name, "failed")


def test_a_sequential_control_counts_when_it_has_ended_early(results: Path) -> None:
    """Gains are shown at a look; E0 and E1 go on, because equality is not."""
    plan = plan_of("controls", "mini", sequential="obrien-fleming")
    outcomes = {
        rollout: [*won[:150], *[None] * 50] if rollout.startswith("E2") else won
        for rollout, won in a_gain(plan).items()
    }
    shutil.rmtree(control(results))
    run_dir = a_run(results, plan, outcomes)
    found = look(results).controls[0].found
    assert found is not None
    assert (found.run, found.outcome) == (plan.run_name, "shown")
    unfinished_e1 = {**outcomes, "E1-zero": [*outcomes["E1-zero"][:150], *[None] * 50]}
    shutil.rmtree(run_dir)
    a_run(results, plan, unfinished_e1)
    assert [each.why for each in look(results).controls[0].passed_over] == ["unfinished"]


def test_a_run_that_does_not_know_its_code_has_no_control(results: Path) -> None:
    a_run(results, PLAN, no_gain(PLAN), code=None)
    controls = reported(results)["controls"]
    assert controls["each"] == []
    assert "has no record of its code version" in controls["note"]


def test_a_run_that_was_continued_after_an_edit_has_no_control(results: Path) -> None:
    record = next((results / PLAN.run_name / "cases").glob("E2-pred-*.json"))
    content = json.loads(record.read_text())
    record.write_text(json.dumps({**content, "code_sha256": "0" * 64}))
    assert code_of(Run(results / PLAN.run_name)) is None
    record.write_text(json.dumps({**content, "code_sha256": CODE}))
    assert code_of(Run(results / PLAN.run_name)) == CODE


def test_before_anyone_looked_the_report_says_so(results: Path) -> None:
    report = write_report(results / PLAN.run_name)
    assert "Not checked yet" in report.read_text()
    assert "Not checked yet" in report.with_suffix(".md").read_text()
    assert json.loads(report.with_suffix(".json").read_text())["controls"]["each"] == []


def test_runs_from_before_and_controls_themselves_say_nothing(results: Path) -> None:
    a_run(results, PLAN, no_gain(PLAN), code=None)
    write_controls(plan_of("controls", "mini"), control(results))
    for run_dir in (
        results / PLAN.run_name,
        control(results),
        control(results, "controls-negative"),
    ):
        assert not (run_dir / CONTROLS_FILE).exists()
        report = write_report(run_dir)
        assert "controls" not in json.loads(report.with_suffix(".json").read_text())
        assert "<h2>Controls</h2>" not in report.read_text()


def test_the_report_is_of_the_file_and_of_no_other_folder(results: Path, tmp_path: Path) -> None:
    reported(results)
    run_dir = results / PLAN.run_name
    first = {path.name: path.read_bytes() for path in run_dir.glob("report.*")}
    shutil.rmtree(control(results))
    write_report(run_dir)
    assert {path.name: path.read_bytes() for path in run_dir.glob("report.*")} == first
    moved = Path(shutil.copytree(run_dir, tmp_path / "moved"))
    write_report(moved)
    assert {path.name: path.read_bytes() for path in moved.glob("report.*")} == first


def test_looking_twice_gives_the_same_bytes(results: Path) -> None:
    reported(results)
    first = (results / PLAN.run_name / CONTROLS_FILE).read_bytes()
    reported(results)
    assert (results / PLAN.run_name / CONTROLS_FILE).read_bytes() == first
    assert read_controls(results / PLAN.run_name) == look(results)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda text: text[: len(text) // 2],
            "controls.json: not valid JSON: .*; remove it and give the command of the run again",
        ),
        (lambda text: "[]", "controls.json: the document must be a table"),
        (
            lambda text: text.replace('"version": 1', '"version": 2'),
            "controls.json: 'version' is 2, this program reads 1",
        ),
        (
            lambda text: text.replace('"failed": 0', '"failed": "no"', 1),
            r"'controls\[0\].failed' must be an integer, not 'no'",
        ),
        (
            lambda text: text.replace('"outcome": "shown"', '"outcome": "shwon"', 1),
            "'shwon'; did you mean 'shown'",
        ),
        (lambda text: text.replace('"runs"', '"run"', 1), r"unknown key 'controls\[0\].run'"),
    ],
)
def test_a_damaged_file_is_one_line(
    results: Path, capsys: pytest.CaptureFixture[str], damage: Any, message: str
) -> None:
    run_dir = results / PLAN.run_name
    write_controls(PLAN, run_dir)
    path = run_dir / CONTROLS_FILE
    damaged = damage(path.read_text())
    assert damaged != path.read_text()
    path.write_text(damaged)
    assert cli.main(["report", str(run_dir)]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert told.startswith(f"error: {run_dir}/controls.json")
    assert re.search(message, told)


def test_an_unwritable_run_directory_is_one_line(results: Path) -> None:
    (results / PLAN.run_name / CONTROLS_FILE).mkdir()
    with pytest.raises(UserError, match=r"controls\.json: cannot be written"):
        write_controls(PLAN, results / PLAN.run_name)


def test_foreign_text_is_inert(results: Path) -> None:
    evil = 'x"><script>alert(1)</script>|'
    run_dir = results / PLAN.run_name
    write_controls(PLAN, run_dir)
    content = json.loads((run_dir / CONTROLS_FILE).read_text())
    content["controls"][0]["found"]["run"] = evil
    content["controls"][1] |= {
        "found": None,
        "passed_over": [{"run": evil, "why": "unreadable", "detail": evil}],
    }
    (run_dir / CONTROLS_FILE).write_text(json.dumps(content))
    html = write_report(run_dir).read_text()
    assert "<script>alert" not in html
    assert html.count("&lt;script&gt;") == 3
    assert 'href="../x%22%3E%3Cscript%3Ealert%281%29%3C/script%3E%7C/report.html"' in html
    assert "<script>" not in (run_dir / "report.md").read_text()


def test_wmbench_run_looks_when_it_ends_and_again_when_given_again(
    tmp_path: Path, made: Path
) -> None:
    """Real runs of core on a fake simulator; the controls beside it are made up, of the code that
    runs here."""
    run_dir = trained(core_plan("smoke", episodes=EPISODES), tmp_path / "results")
    (run_dir / "provenance.json").unlink()

    def outcomes() -> list[str]:
        code, out, err = run_here(run_dir)
        assert code == 0, out + err
        content = json.loads((run_dir / "report.json").read_text())
        return [each["outcome"] for each in content["controls"]["each"]]

    assert outcomes() == ["none", "none"]
    code = json.loads((run_dir / "provenance.json").read_text())["code_sha256"]
    assert len(code) == 64
    for suite in ("controls", "controls-negative"):
        beside = Path(
            shutil.copytree(control(made, suite), run_dir.parent / control(made, suite).name)
        )
        provenance = beside / "provenance.json"
        provenance.write_text(provenance.read_text().replace(CODE, code))
    assert outcomes() == ["shown", "shown"]


def test_realistic_reports_stay_readable_with_controls(made: Path, tmp_path: Path) -> None:
    results, plan = Path(shutil.copytree(made, tmp_path / "results")), core_plan("mini")
    run_dir = a_run(results, plan, drawn_outcomes(plan, REALISTIC))
    write_controls(plan, run_dir)
    markdown = write_report(run_dir).with_suffix(".md").read_text()
    assert len(markdown) < 5500
    told = [
        line for line in markdown.splitlines() if line.startswith("- ") and "control shown" in line
    ]
    assert len(told) == 2
