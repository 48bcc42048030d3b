"""`wmbench history` of made-up runs: what the page shows, that it is inert and the same each time,
and what it cannot read."""

import html.parser
import json
import re
import shutil
import typing
from pathlib import Path
from typing import Any

import pytest
from synthetic_run import PROVENANCE, core_plan, drawn_outcomes, write_run

from bench.cli import main
from bench.report.history.charts import Series, Value, ceiling, draw
from bench.report.history.runs import read_history

RATES = {"E0-none": 0.71, "E1-zero": 0.71, "E2-pred": 0.83, "E2-zero": 0.69, "E2-random": 0.58}


def add_run(
    results: Path, name: str, when: str | None, scale: str = "mini", **overrides: Any
) -> Path:
    plan = core_plan(scale, **overrides)
    run = write_run(results / name, plan, drawn_outcomes(plan, RATES), metrics=False)
    told = {"collected_at": when} if when else {}
    (run / "provenance.json").write_text(json.dumps(PROVENANCE | told))
    path = run / "cases" / "E0-train-s0.json"
    path.write_text(
        json.dumps(
            json.loads(path.read_text())
            | {"last": {"step": 600, "samples": 19200, "seconds": 32.0}}
        )
    )
    return run


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    add_run(folder, "b-second", "2026-11-23T10:00:00+02:00")
    add_run(folder, "a-third", "2026-11-24T10:00:00+00:00", steps=1200)
    add_run(folder / "reference", "cpu_first", "2026-11-22T10:00:00+00:00")
    add_run(folder, "smoke", "2026-11-20T10:00:00+00:00", scale="smoke")
    return folder


def page(results: Path) -> str:
    assert main(["history", str(results)]) == 0
    return (results / "history.html").read_text()


def test_runs_stand_in_the_order_of_time_in_groups_of_their_own(results: Path) -> None:
    history = read_history(results)
    assert [(entry.folder, entry.when) for entry in history.entries] == [
        ("smoke", "2026-11-20 10:00"),
        ("reference/cpu_first", "2026-11-22 10:00"),
        ("b-second", "2026-11-23 08:00"),
        ("a-third", "2026-11-24 10:00"),
    ]
    text = page(results)
    assert re.findall(r"<h2>(core.*?)</h2>", text) == [
        "core at mini on cpu",
        "core at smoke on cpu",
    ]


def test_every_figure_stands_in_a_table_and_in_the_text_of_its_chart(results: Path) -> None:
    text = page(results)
    (entry,) = [entry for entry in read_history(results).entries if entry.folder == "b-second"]
    rate = next(rate for rate in entry.content["rates"] if rate["rollout"] == "E2-pred")
    assert f"{100 * rate['rate']:.1f} %" in text
    assert f"{rate['successes']}/{rate['finished']}" in text
    assert f"E2-pred, 2026-11-23 08:00: {100 * rate['rate']:.4g} %" in text
    assert "E0-train-s0, 2026-11-23 08:00: 600 samples/s" in text
    assert text.count('role="img"') == text.count("<desc id=") == 6


def test_the_page_needs_nothing_but_itself(results: Path) -> None:
    class Outside(html.parser.HTMLParser):
        found: typing.ClassVar[list[str]] = []

        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            assert tag not in ("script", "link", "img", "iframe")
            self.found += [str(value) for name, value in attributes if name in ("src", "href")]

    reader = Outside()
    reader.feed(page(results))
    assert reader.found == []
    assert "url(" not in page(results)


def test_it_links_the_reports_that_are_there(results: Path) -> None:
    (results / "b-second" / "report.html").write_text("")
    assert '<a href="b-second/report.html">b-second</a>' in page(results)


def test_the_same_runs_give_the_same_bytes_wherever_they_lie(results: Path, tmp_path: Path) -> None:
    (results / "damaged").mkdir()
    (results / "damaged" / "plan.json").write_text("{")
    first = page(results)
    assert page(results) == first
    assert page(Path(shutil.copytree(results, tmp_path / "elsewhere" / "results"))) == first


@pytest.mark.parametrize("damage", ["plan", "journal", "provenance", "record", "no plan"])
def test_what_cannot_be_read_is_named_and_the_rest_is_shown(
    results: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    run = results / "b-second"
    if damage == "plan":
        (run / "plan.json").write_text(
            (run / "plan.json").read_text().replace('"alpha": 0.05', '"alpha": 0.5')
        )
    elif damage == "journal":
        (run / "episodes" / "E0-none-s0.jsonl").write_text("nothing\n")
    elif damage == "no plan":
        (run / "plan.json").unlink()
    else:
        (
            run / {"provenance": "provenance.json", "record": "cases/E0-train-s0.json"}[damage]
        ).write_text("[")
    text = page(results)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("not shown: b-second: ")
    assert "One folder is not in any chart" in text
    assert str(results) not in text
    assert "a-third" in text


@pytest.mark.parametrize(
    "provenance", [{}, {"collected_at": 7, "cpu": [], "git": "x", "torch": {"devices": [1, {}]}}]
)
def test_a_provenance_that_tells_nothing_is_no_error(
    results: Path, provenance: dict[str, Any]
) -> None:
    (results / "b-second" / "provenance.json").write_text(json.dumps(provenance))
    for path in list((results / "b-second" / "cases").iterdir()):
        path.unlink()
    assert "no date" in page(results)


def test_text_of_a_run_is_inert(results: Path) -> None:
    (results / "b-second").rename(results / "<b>x<script>")
    text = page(results)
    assert "<script" not in text
    assert "<b>x" not in text
    assert "made-up <b>CPU" not in text


def test_without_runs_it_says_so(tmp_path: Path) -> None:
    assert "There is no run here yet." in page(tmp_path)


def test_no_folder_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", str(tmp_path / "none")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_the_page_is_written_into_a_folder_that_is_not_there_yet(
    results: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out" / "history.html"
    assert main(["history", str(results), "--output", str(output)]) == 0
    assert "reference/cpu_first" in output.read_text()


def test_a_page_that_cannot_be_written_is_one_line(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["history", str(results), "--output", str(tmp_path / "file" / "history.html")]) == 2
    assert "history.html: cannot be written: " in capsys.readouterr().err


def test_json_holds_the_same_figures(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", str(results), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert [entry["folder"] for entry in content["entries"]] == [
        "smoke",
        "reference/cpu_first",
        "b-second",
        "a-third",
    ]
    assert not (results / "history.html").exists()


def test_a_line_joins_runs_of_one_plan_only() -> None:
    values = tuple(Value(value) for value in (10.0, 20.0, 30.0))
    chart = draw("t", "%", ["a", "b", "c"], ["one", "one", "other"], [Series("s", values)], 100.0)
    assert chart.lines[0].path.count("M") == 2
    assert chart.lines[0].path.count("L") == 1
    heights = [mark.y for mark in chart.lines[0].marks]
    assert heights == sorted(heights, reverse=True)
    assert (chart.grid[0][0], chart.grid[-1][0]) == (190.0, 10.0)


@pytest.mark.parametrize(
    ("values", "top"),
    [([0.7], 0.8), ([1.0], 1.0), ([9.0, 4.0], 10.0), ([607.0], 800.0), ([], 1.0), ([0.0], 1.0)],
)
def test_the_axis_ends_at_a_round_number(values: list[float], top: float) -> None:
    assert ceiling(values) == pytest.approx(top)
