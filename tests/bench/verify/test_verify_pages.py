"""What `wmbench verify` says of a page whose films or templates are another's, or elsewhere."""

import json
import shutil
from pathlib import Path

import pytest
from sealed_run import edit, told

from bench import cli
from bench.report.write import write_report
from bench.verify.manifest import write_manifest
from bench.verify.verify import verify


def film(run_dir: Path, index: int) -> Path:
    """A film in name alone: a report looks at nothing else of it."""
    path = run_dir / "videos" / f"E0-none-s0-{index}.mp4"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"film")
    return path


def test_a_page_links_films_that_stayed_elsewhere(run_dir: Path) -> None:
    films = [film(run_dir, index) for index in (0, 1)]
    write_report(run_dir)
    write_manifest(run_dir, ran=False)
    assert f"videos/{films[1].name}" in (run_dir / "report.html").read_text()
    assert verify(run_dir).damages == ()
    films[0].unlink()
    verified = verify(run_dir)
    assert [str(damage) for damage in verified.damages] == [
        f"videos/{films[0].name}: missing: manifest.json has a checksum of it"
    ], "and nothing of the page, which is as it was made"
    assert (
        "report.html links films that are not here (1): made again by their names in manifest.json"
        in verified.notes
    )
    assert "3 of 3 reports made again, byte for byte" in verified.checked
    page = (run_dir / "report.html").read_text()
    (run_dir / "report.html").write_text(page.replace("INCONCLUSIVE", "SUPPORTED", 1))
    assert any(line.startswith("report.html: line ") for line in told(run_dir))


def test_films_may_all_have_stayed_elsewhere(run_dir: Path) -> None:
    for index in (0, 1):
        film(run_dir, index)
    write_report(run_dir)
    write_manifest(run_dir, ran=False)
    shutil.rmtree(run_dir / "videos")
    verified = verify(run_dir)
    assert verified.damages == ()
    assert any(note.startswith("videos/ is not here (2 files)") for note in verified.notes)
    assert "3 of 3 reports made again, byte for byte" in verified.checked


def test_a_film_that_was_laid_there_later_is_all_that_is_unknown(run_dir: Path) -> None:
    path = film(run_dir, 0)
    (line,) = told(run_dir)
    assert line.startswith(f"videos/{path.name}: unknown: ")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Templates of a user's own."""
    folder = tmp_path / "mine"
    (folder / ".git").mkdir(parents=True)
    (folder / "style.css").write_text("body { color: rebeccapurple }\n")
    return folder


def test_a_page_of_other_templates_is_said_to_be_one(run_dir: Path, own: Path) -> None:
    assert cli.main(["report", str(run_dir), "--templates", str(own)]) == 0
    verified = verify(run_dir)
    assert verified.damages == ()
    sum_of_mine = json.loads((run_dir / "report.json").read_text())["templates"]
    assert (
        f"report.html and report.md were made with other templates (checksum {sum_of_mine[:12]}"
        "...), and were not made again; wmbench verify --templates FOLDER does that"
        in verified.notes
    )
    assert "1 of 1 reports made again, byte for byte" in verified.checked
    edit(run_dir / "report.json", lambda report: report["claims"][0].update(difference=0.25))
    assert any(
        "report.json: 'claims[E1 = E0].difference'" in line and "it says 0.25" in line
        for line in told(run_dir)
    )


def test_a_page_of_other_templates_is_made_again_where_they_are_given(
    run_dir: Path, own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["report", str(run_dir), "--templates", str(own)]) == 0
    (own / ".git" / "HEAD").write_text("what is hidden is no template\n")
    elsewhere = shutil.copytree(own, tmp_path / "theirs")
    packed = tmp_path / "run.tar.gz"
    assert cli.main(["pack", str(run_dir), "-o", str(packed)]) == 0
    capsys.readouterr()
    for run in (run_dir, packed):
        assert cli.main(["verify", str(run), "--templates", str(elsewhere)]) == 0
        out = capsys.readouterr().out
        assert "checked: 3 of 3 reports made again, byte for byte\n" in out
        assert "other templates" not in out
    page = (run_dir / "report.html").read_text()
    (run_dir / "report.html").write_text(page.replace("INCONCLUSIVE", "SUPPORTED", 1))
    assert cli.main(["verify", str(run_dir), "--templates", str(elsewhere)]) == 1
    assert "WRONG: report.html: line " in capsys.readouterr().out

    (own / "style.css").write_text("body { color: teal }\n")
    assert cli.main(["verify", str(run_dir), "--templates", str(own)]) == 2
    assert "were made with other templates, whose checksum is " in capsys.readouterr().err
    assert cli.main(["report", str(run_dir)]) == 0
    assert cli.main(["verify", str(run_dir), "--templates", str(own)]) == 2
    assert (
        f"--templates {own}: the reports of {run_dir} were made with the built-in templates; give"
        " those, or none" in capsys.readouterr().err
    )
