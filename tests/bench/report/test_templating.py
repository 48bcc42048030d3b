"""Templates of a user's own: they replace ours by name, are escaped all the same, and end in one
line where they are broken."""

from pathlib import Path

import pytest
from synthetic_run import REALISTIC, core_plan, drawn_outcomes, write_run

from bench.cli import main
from bench.report.filters import content_hash, figure, grouped
from bench.report.write import write_report
from wmvla.errors import UserError

BAD = Path(__file__).parents[2] / "resources" / "bad" / "templates"


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    plan = core_plan("smoke")
    return write_run(tmp_path / "run", plan, drawn_outcomes(plan, REALISTIC))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    return folder


def test_a_template_of_the_same_name_goes_before_ours(run_dir: Path, folder: Path) -> None:
    ours = write_report(run_dir).read_text()
    (folder / "style.css").write_text("body { color: rebeccapurple }\n")
    assert main(["report", str(run_dir), "--templates", str(folder)]) == 0
    mine = (run_dir / "report.html").read_text()
    assert "rebeccapurple" in mine
    assert "--paper" not in mine
    assert mine.split("</style>")[1] == ours.split("</style>")[1]


def test_an_own_page_may_use_our_parts_and_is_escaped(run_dir: Path, folder: Path) -> None:
    (folder / "report.html.j2").write_text(
        '{% import "figures.html.j2" as figures %}{% include "own.svg" %}{{ "<b>" }}{{'
        " figures.forest(forest) }}"
    )
    (folder / "own.svg").write_text('<svg><text>{{ "<i>" }}</text></svg>')
    mine = write_report(run_dir, folder).read_text()
    assert mine.startswith("<svg><text>&lt;i&gt;</text></svg>&lt;b&gt;")
    assert '<div class="plot forest">' in mine


@pytest.mark.parametrize(
    ("name", "line", "told"),
    [
        ("unclosed", 3, "Unexpected end of template"),
        ("undefined", 3, "'dict object' has no attribute 'colour'"),
        ("failing", 2, "'int object' has no attribute 'rows'"),
        ("missing", 2, "there is no template 'logo.svg'"),
    ],
)
def test_a_broken_template_is_one_line(
    run_dir: Path, capsys: pytest.CaptureFixture[str], name: str, line: int, told: str
) -> None:
    assert main(["report", str(run_dir), "--templates", str(BAD / name)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"{BAD / name / 'report.html.j2'}, line {line}: {told}" in error
    assert not (run_dir / "report.html").exists()


def test_a_folder_that_replaces_nothing_is_refused(run_dir: Path, folder: Path) -> None:
    (folder / "raport.html.j2").write_text("")
    with pytest.raises(
        UserError, match=r"no file in it replaces a template; give one of beside\.html\.j2, "
    ):
        write_report(run_dir, folder)
    with pytest.raises(UserError, match="no such folder"):
        write_report(run_dir, folder / "nowhere")


def test_the_script_is_the_one_that_the_policy_names(run_dir: Path) -> None:
    page = write_report(run_dir).read_text()
    script = page.split("<script>")[1].split("</script>")[0]
    assert f"script-src {content_hash(script)};" in page.replace("&#39;", "'")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "-"),
        (0.03644, "0.0364"),
        (694.4, "694"),
        (999.7, "1000"),
        (1093.6, "1094"),
        (-25600, "-25600"),
        (6e12, "6e+12"),
    ],
)
def test_figures_of_thousands_are_whole(value: float | None, told: str) -> None:
    assert figure(value) == told


def test_records_are_told_in_groups() -> None:
    record = {
        "command": "run",
        "git": {"commit": "0", "dirty": False},
        "torch": {"devices": [{"name": "A"}, {"name": "B"}], "hip": None},
    }
    assert grouped(record) == [
        ("", [("command", "run")]),
        ("git", [("commit", "0"), ("dirty", "no")]),
        ("torch", [("devices 0 name", "A"), ("devices 1 name", "B"), ("hip", "–")]),  # noqa: RUF001
    ]
