"""Reports: pure, the same bytes again, self-contained, escaped, and whole when pieces are
missing."""

import html.parser
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from synthetic_run import REALISTIC, core_plan, drawn_outcomes, write_run

from bench.plan.document import Plan
from bench.plan.machine import load_machine
from bench.plan.make import make_plan
from bench.plan.overrides import parse_overrides
from bench.plan.suite import load_suite
from bench.report.content import reproduce_command
from bench.report.filters import duration, no_markup, one_line, typeset
from bench.report.write import write_report
from wmvla.errors import UserError

NAMES = ("report.html", "report.md", "report.json")


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    plan = core_plan("mini")
    return write_run(tmp_path / "run", plan, drawn_outcomes(plan, REALISTIC))


class Text(html.parser.HTMLParser):
    """Checks that tags are closed in order, and collects the text."""

    VOID = frozenset({"meta", "br", "link", "hr", "line", "rect", "circle", "path"})

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.feed(source)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in self.VOID or (tag == "path" and not self.get_starttag_text().endswith("/>")):  # type: ignore[union-attr]
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "title", "script"):
            self.text += data


def read(path: Path) -> str:
    return re.sub(r"[ \n]+", " ", Text(path.read_text()).text)


def test_the_same_bytes_again_and_elsewhere(run_dir: Path, tmp_path: Path) -> None:
    write_report(run_dir)
    first = {name: (run_dir / name).read_bytes() for name in NAMES}
    moved = Path(shutil.copytree(run_dir, tmp_path / "elsewhere" / "under another name"))
    for name in NAMES:
        (moved / name).unlink()
    environment = {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    subprocess.run(
        [sys.executable, "-m", "bench.cli", "report", str(moved)],
        env=environment,
        check=True,
        timeout=60,
    )
    assert {name: (moved / name).read_bytes() for name in NAMES} == first


def test_nothing_is_loaded_from_elsewhere(run_dir: Path) -> None:
    source = write_report(run_dir).read_text()
    assert not re.findall(r"""\ssrc\s*=|url\(|@import|//[a-z]+\.""", source)
    assert {
        target[:1] for target in re.findall(r"""href="([^"]*)""", source) if target != "data:,"
    } == {"#"}
    assert "default-src 'none'" in source
    assert "prefers-color-scheme: dark" in source


def test_the_first_screen_says_the_verdict_and_its_limits(run_dir: Path) -> None:
    text = read(write_report(run_dir))
    content = json.loads((run_dir / "report.json").read_text())
    first = text[: text.index("Success of each rollout")]
    assert content["question"] in first
    assert content["verdict"]["decision"] in first
    assert typeset(content["verdict"]["reason"]) in first
    for claim in content["claims"]:
        assert claim["id"] in first
    for note in content["cannot_say"]:
        assert typeset(note) in first


def test_everything_that_was_found_is_told(run_dir: Path) -> None:
    text = read(write_report(run_dir))
    content = json.loads((run_dir / "report.json").read_text())
    for wanted in (
        *(typeset(claim["sentence"]) for claim in content["claims"]),
        *(rate["rollout"] for rate in content["rates"]),
        *(training["case"] for training in content["training"]),
        *(stage["case"] for stage in content["stages"]),
        content["reproduce"],
        content["plan_hash"],
        "made-up <b>CPU</b>",
    ):
        assert wanted in text


def test_tasks_are_told_where_there_are_several(run_dir: Path, tmp_path: Path) -> None:
    assert "Success by task" not in write_report(run_dir).with_suffix(".md").read_text()
    plan = core_plan("full", episodes=5)
    report = write_report(
        write_run(tmp_path / "several", plan, drawn_outcomes(plan, REALISTIC), metrics=False)
    )
    content, text = json.loads(report.with_suffix(".json").read_text()), read(report)
    section = text[text.index("Success of each rollout") : text.index("The claims and their tests")]
    for rate in content["rates"]:
        assert sum(task["successes"] for task in rate["tasks"]) == rate["successes"]
        for task in rate["tasks"]:
            assert typeset(f"{100 * task['lower']:.1f} % to {100 * task['upper']:.1f} %") in section
    table = report.with_suffix(".md").read_text().split("Success by task")[1].split("</details>")[0]
    assert {line.count("|") for line in table.splitlines() if line.startswith("|")} == {7}
    assert table.count("\n|") == 12


def test_steps_to_success_stand_apart_from_the_claims(run_dir: Path) -> None:
    text = read(write_report(run_dir))
    content = json.loads((run_dir / "report.json").read_text())
    section = text[text.index("Steps to success Whether") : text.index("Episodes Each column")]
    assert "No claim rests on these figures." in section
    for claim in content["claims"]:
        assert f"{claim['steps']['left_mean']:.1f}{claim['steps']['right_mean']:.1f}" in section
    assert "Steps to success (decide nothing)" in (run_dir / "report.md").read_text()


def test_held_out_figures_are_told_with_their_baselines(run_dir: Path) -> None:
    text = read(write_report(run_dir))
    content = json.loads((run_dir / "report.json").read_text())
    section = text[
        text.index("Prophet on held-out demonstrations") : text.index("Action error on replayed")
    ]
    for replay in content["replays"]:
        for value in (
            *replay["prophet"]["cosine"],
            *content["replays"][0]["prophet"]["mean_delta_cosine"],
        ):
            assert f"{value:.2f}" in section
    errors = text[text.index("Action error on replayed") : text.index("Throughput")]
    for replay in content["replays"]:
        assert all(f"{error['mean']:.4f}" in errors for error in replay["action_error"].values())


def test_without_held_out_demonstrations_the_report_says_so(tmp_path: Path) -> None:
    plan = core_plan("full", episodes=2)
    report = write_report(
        write_run(tmp_path / "run", plan, drawn_outcomes(plan, REALISTIC), metrics=False)
    )
    assert read(report).count("Not measured: this scale has no held-out demonstrations.") == 2
    assert "Not measured" in report.with_suffix(".md").read_text()


def test_a_part_of_the_replays_is_marked(run_dir: Path) -> None:
    (run_dir / "cases" / "E1-replay-s0.json").unlink()
    assert "1 of 2 trainings were replayed so far." in read(write_report(run_dir))


@pytest.mark.parametrize(
    "missing", ["episodes", "metrics", "cases", "provenance.json", "episodes/E2-pred-s0.jsonl"]
)
def test_missing_pieces_are_marked(run_dir: Path, missing: str) -> None:
    path = run_dir / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    text = read(write_report(run_dir))
    marks = {
        "episodes": "0 of 120 episodes are finished",
        "metrics": "No training has logged a step yet",
        "cases": (
            "All episodes are finished; 19 of 19 cases are not: demonstrations, base, latents,"
            " wiring-gate, "
        ),
        "provenance.json": "No provenance was recorded",
        "episodes/E2-pred-s0.jsonl": "Unfinished. 96 of 120 episodes are finished",
    }
    assert marks[missing] in text


@pytest.mark.parametrize("git", [{"git": {"error": "not a git repository"}}, {}])
def test_a_run_of_sources_without_a_repository_has_a_report(
    run_dir: Path, git: dict[str, object]
) -> None:
    path = run_dir / "provenance.json"
    path.write_text(
        json.dumps(
            {key: value for key, value in json.loads(path.read_text()).items() if key != "git"}
            | git
        )
    )
    report = write_report(run_dir)
    assert ("not a git repository" in report.read_text()) == bool(git)
    assert ", source" not in report.with_suffix(".md").read_text()


def test_a_partial_run_is_marked_everywhere(tmp_path: Path) -> None:
    plan = core_plan("mini")
    outcomes = drawn_outcomes(plan, REALISTIC)
    outcomes["E2-pred-s0"] = [*outcomes["E2-pred-s0"][:5], *[None] * 19]
    report = write_report(write_run(tmp_path / "run", plan, outcomes))
    assert "Unfinished. 101 of 120 episodes" in read(report)
    assert "**Unfinished:** 101 of 120 episodes" in report.with_suffix(".md").read_text()
    content = json.loads(report.with_suffix(".json").read_text())
    assert (content["complete"], content["finished"]) == (False, False)


def test_a_killed_training_leaves_half_a_line(run_dir: Path) -> None:
    path = run_dir / "metrics" / "E2-train-s0.jsonl"
    path.write_text(
        "".join(path.read_text().splitlines(keepends=True)[:100]) + '{"step": 101, "los'
    )
    write_report(run_dir)
    content = json.loads((run_dir / "report.json").read_text())
    (training,) = (
        training for training in content["training"] if training["case"] == "E2-train-s0"
    )
    assert training["steps"] == 100


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        (
            "metrics/E0-train-s0.jsonl",
            '{"step": 1}\nnot json\n{"step": 3}\n',
            "line 2 is not a logged step",
        ),
        ("metrics/E0-train-s0.jsonl", '{"loss": 1}\n', "line 1 is not a logged step"),
        ("cases/base.json", "{", "base.json: not valid JSON"),
        ("provenance.json", "[]", "provenance.json: must be a JSON object"),
    ],
)
def test_damaged_files_are_named(run_dir: Path, file: str, text: str, message: str) -> None:
    (run_dir / file).write_text(text)
    with pytest.raises(UserError, match=message):
        write_report(run_dir)


def test_markdown_fits_a_comment_and_its_tables_hold(run_dir: Path) -> None:
    source = write_report(run_dir).with_suffix(".md").read_text()
    assert len(source) < 5000
    tables = [table.splitlines() for table in re.findall(r"(?:^\|.*\n)+", source, re.MULTILINE)]
    assert [{line.count("|") for line in table} for table in tables] == [{6}, {6}, {8}, {6}, {9}]


def test_the_command_to_reproduce_resolves_to_the_same_plan() -> None:
    for plan in (
        core_plan("mini", seeds=(0, 2), arms=("E0", "E2"), batch_size=50),
        core_plan("smoke"),
    ):
        assert _resolved(reproduce_command(plan)).hash == plan.hash


def _resolved(command: str) -> Plan:
    words = dict(word.split("=") for word in command.removeprefix("make bench ").split())
    overrides = parse_overrides(
        **{
            name.lower(): words[name]
            for name in ("SEEDS", "ARMS", "EPISODES", "STEPS", "BATCH_SIZE")
        }
    )
    return make_plan(
        load_suite(words["SUITE"]), words["SCALE"], load_machine(words["MACHINE"]), overrides
    )


def test_a_full_scale_report_is_quick_and_light(tmp_path: Path) -> None:
    plan = core_plan("full")
    report = write_report(
        write_run(tmp_path / "run", plan, drawn_outcomes(plan, REALISTIC), metrics=False)
    )
    assert report.stat().st_size < 2_000_000


def test_an_unwritable_run_directory_is_one_line(run_dir: Path) -> None:
    (run_dir / "report.json").mkdir()
    with pytest.raises(UserError, match="cannot be written"):
        write_report(run_dir)


def test_helpers() -> None:
    assert [duration(seconds) for seconds in (None, 0.04, 59.94, 60, 3600, 7500)] == [
        "-",
        "0.0 s",
        "59.9 s",
        "1 min 00 s",
        "1 h 00 min",
        "2 h 05 min",
    ]
    assert one_line("a|b\n <c") == r"a\|b <c"
    assert no_markup("<b>&amp;") == "&lt;b>&amp;amp;"
    assert typeset("E1-zero - E0 is -3.0 to -1e-5, 5 %") == "E1-zero − E0 is −3.0 to −1e-5, 5\xa0%"  # noqa: RUF001
    assert typeset("-") == "\N{EN DASH}"
    assert (
        typeset('excludes "E1 = E0"')
        == "excludes \N{LEFT DOUBLE QUOTATION MARK}E1\xa0=\xa0E0\N{RIGHT DOUBLE QUOTATION MARK}"
    )
