"""What the report adds up, lists and refuses: discordant episodes and their films, spending, speed,
trainings that diverged."""

import dataclasses
import json
from pathlib import Path

import jsonschema
import pytest
from synthetic_run import core_plan, write_run

from bench.plan.machine import load_machine
from bench.record.run import read_run
from bench.report.discordant import MOST_LISTED, discordant, filmed
from bench.report.spent import spent
from bench.report.write import write_report
from wmvla.errors import UserError

PLAN = core_plan("mini")
SCHEMA = json.loads(
    (Path(__file__).parents[3] / "bench" / "formats" / "schemas" / "report.schema.json").read_text()
)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """E2-pred solves what nobody else does, but for the first episode, which it broke on."""
    outcomes = {case.rollout: [True, *[False] * 23] for case in PLAN.rollout_cases()}
    outcomes["E2-pred"] = ["error", *[True] * 23]
    return write_run(tmp_path / "run", PLAN, outcomes)


def told(run_dir: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads(write_report(run_dir).with_suffix(".json").read_text())
    jsonschema.validate(content, SCHEMA)
    return content


def test_discordant_episodes_are_counted_and_the_first_are_listed(run_dir: Path) -> None:
    equal, better, *_ = told(run_dir)["discordant"]
    assert (equal["claim"], equal["number"], equal["episodes"]) == ("E1 = E0", 0, [])
    assert (better["left"], better["right"], better["number"]) == ("E2-pred", "E0-none", 24)
    assert [episode["index"] for episode in better["episodes"]] == list(range(MOST_LISTED))
    first, second = better["episodes"][:2]
    assert (first["solved_by"], first["left_told"]) == ("E0-none", "error")
    assert (second["solved_by"], second["init"], second["right_told"]) == (
        "E2-pred",
        21,
        "not solved, 200 steps",
    )


def test_films_go_first_on_the_page_and_are_nothing_to_the_figures(run_dir: Path) -> None:
    without = told(run_dir)
    (run_dir / "videos").mkdir()
    for name in (
        "E2-pred-s0-vs-E0-none-s0-20.mp4",
        "E0-none-s0-3.mp4",
        ".1-half-written.mp4",
        "of-nothing.mp4",
    ):
        (run_dir / "videos" / name).write_text("")
    assert told(run_dir) == without
    page = (run_dir / "report.html").read_text()
    assert page.count("<video ") == 1
    assert 'href="videos/E2-pred-s0-vs-E0-none-s0-20.mp4"' in page
    assert 'href="videos/E0-none-s0-3.mp4"' in page
    assert "of-nothing" not in page
    assert "half-written" not in page
    run = read_run(run_dir)
    better = filmed(discordant(run), run.films)[1]
    assert [episode["index"] for episode in better["episodes"]] == [20, *range(MOST_LISTED - 1)]
    assert (better["filmed"], better["number"]) == (1, 24)


def test_spending_is_summed_by_kind_and_counts_gpus_where_there_are_some(run_dir: Path) -> None:
    run = read_run(run_dir)
    found = spent(run)
    assert found["seconds"] == pytest.approx(
        sum(record["seconds"] for record in run.cases.values())
    )
    assert found["gpu_seconds"] is None
    eight = run.with_parts(plan=dataclasses.replace(PLAN, machine=load_machine("mi300x-8")))
    by_kind = {kind["kind"]: kind for kind in spent(eight)["kinds"]}
    assert by_kind["train"]["gpu_seconds"] == pytest.approx(8 * by_kind["train"]["seconds"])
    assert by_kind["rollout"]["gpu_seconds"] == by_kind["rollout"]["seconds"]
    assert by_kind["demonstrations"]["gpu_seconds"] is None
    nothing = spent(run.with_parts(cases={}))
    assert (nothing["seconds"], nothing["cpu_seconds"]) == (None, None)


def test_speed_is_told_with_its_reference_as_it_was_measured(run_dir: Path) -> None:
    assert told(run_dir)["throughput"] is None
    assert "Not measured beside this run" in (run_dir / "report.html").read_text()
    speed = {
        "figure": "train_E2",
        "unit": "samples/s",
        "value": 98.7,
        "machine": "cpu",
        "judgement": "pass",
    }
    beside = {
        "reference": 100.0,
        "reference_date": "2026-11-01",
        "least": 90.0,
        "percent_of_gemm": 31.5,
        "samples": 4,
    }
    (run_dir / "throughput.json").write_text(
        json.dumps({"benchmarks": [{"extra_info": speed | beside}, {"name": "other"}]})
    )
    (found,) = told(run_dir)["throughput"]
    assert (found["reference"], found["least"], found["most"], found["percent_of_peak"]) == (
        100.0,
        90.0,
        None,
        None,
    )
    assert found["beside"] == {"samples": 4}
    assert (
        "| train_E2 | 98.7 samples/s | 100 | - | 31.5 | pass |"
        in (run_dir / "report.md").read_text()
    )


BASE = {
    "case": "base",
    "kind": "base",
    "seconds": 1.0,
    "cpu_seconds": 1.0,
    "finished_at": "2026-11-30T12:00:00Z",
    "artefacts": {},
}


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("throughput.json", '{"benchmarks": 3}', "'benchmarks' is not a list"),
        (
            "throughput.json",
            '{"benchmarks": [{"extra_info": {"figure": "copy", "value": NaN, "unit": "GB/s"}}]}',
            "not valid JSON: it contains NaN",
        ),
        (
            "cases/base.json",
            json.dumps({**BASE, "seconds": "long"}),
            "'seconds' must be a number, not 'long'",
        ),
        (
            "cases/base.json",
            json.dumps({**BASE, "cpu_seconds": -1}),
            "'cpu_seconds' must be at least 0, not -1",
        ),
    ],
)
def test_numbers_that_are_none_are_refused(
    run_dir: Path, file: str, text: str, message: str
) -> None:
    (run_dir / file).write_text(text)
    with pytest.raises(UserError, match=f"{file}: {message}"):
        write_report(run_dir)


def test_devices_and_source_are_told_as_provenance_has_them(run_dir: Path) -> None:
    told_of = {
        "torch": {"devices": [{"name": "A"}, {"name": "A"}]},
        "git": {"commit": "0", "dirty": True},
    }
    recorded = {**told_of, "packages": {}, "environment": {}}
    (run_dir / "provenance.json").write_text(json.dumps(recorded))
    content = told(run_dir)
    assert (content["source"], content["hardware"]) == ({"commit": "0", "dirty": True}, "2 x A")
