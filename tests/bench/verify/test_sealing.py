"""What is sealed again, by whom, and what no new report or seal covers up."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sealed_run import JOURNAL, edit, edit_line, finish, sealed_run, small_plan, told
from synthetic_run import REALISTIC, drawn_outcomes, write_run

from bench import cli
from bench.formats.checksums import is_intact, sha256_of
from bench.report.write import write_report
from bench.verify.manifest import MANIFEST, seal_of, write_manifest
from bench.verify.verify import verify


def test_a_foreign_file_is_no_part_of_a_run(run_dir: Path) -> None:
    """What editors, file managers and network disks leave; it changed the seal, or was a damage."""
    before = verify(run_dir)
    seen = [
        "cases/E0-train-s0.json~",
        "episodes/E0-none-s0.jsonl.orig",
        "notes.txt",
        "plan.json.bak",
    ]
    hidden = [
        *(
            f"{folder}/._E0-train-s0.json{'' if folder == 'cases' else 'l'}"
            for folder in ("cases", "metrics", "episodes")
        ),
        "imported/._a.json",
        ".DS_Store",
        ".nfs0001",
    ]
    for name in (*seen, *hidden):
        (run_dir / name).parent.mkdir(exist_ok=True)
        (run_dir / name).write_bytes(b"\0\5\x16\7 no JSON")
    after = verify(run_dir)
    assert after.damages == ()
    assert after.seal == before.seal
    assert f"not files of a run, so not checked: {', '.join(seen)}" in after.notes
    manifest = (run_dir / MANIFEST).read_text()
    write_report(run_dir)
    assert write_manifest(run_dir, ran=False) == before.seal
    assert (run_dir / MANIFEST).read_text() == manifest


def test_a_report_does_not_bless_a_damage(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A log has no record that vouches for it: its sum stays that of the run's end, however often a
    report is made."""
    (run_dir / "logs" / "E0-train-s0.log").write_text("another story\n")
    (run_dir / "videos").mkdir()
    (run_dir / "videos" / "E0-none-s0-0.mp4").write_bytes(b"film")
    assert cli.main(["report", str(run_dir)]) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"seal: {seal_of(run_dir)}"
    (line,) = told(run_dir)
    assert line.startswith("logs/E0-train-s0.log: changed after it was sealed")


def test_a_case_that_was_done_again_is_sealed_again(run_dir: Path) -> None:
    edit(run_dir / "cases" / "demonstrations.json", lambda record: record.update(seconds=1.0))
    assert told(run_dir) != []
    assert cli.main(["report", str(run_dir)]) == 0
    assert told(run_dir) == []


def test_a_damaged_manifest_is_not_replaced(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run_dir / MANIFEST).write_text(
        (run_dir / MANIFEST).read_text().replace('"bytes": ', '"bytes": 1', 1)
    )
    assert cli.main(["report", str(run_dir)]) == 2
    assert "manifest.json: changed after it was written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("metrics/E0-train-s0.jsonl", lambda path: edit_line(path, 3, loss_total=0.001)),
        (JOURNAL, lambda path: edit_line(path, 1, success=False)),
        ("plan.json", lambda path: edit(path, lambda plan: plan.update(cannot_say=[]))),
        ("provenance.json", lambda path: edit(path, lambda told: told.update(python="3.99"))),
        (
            "cases/E0-none-s0.json",
            lambda path: path.write_text(path.read_text().replace('"seconds"', '"second"')),
        ),
    ],
)
def test_no_report_is_made_of_what_was_changed(
    run_dir: Path, file: str, change: Callable[[Path], object], capsys: pytest.CaptureFixture[str]
) -> None:
    before = (run_dir / "report.json").read_bytes()
    change(run_dir / file)
    assert cli.main(["report", str(run_dir)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {run_dir / file}: ")
    assert error.count("\n") == 1
    assert (run_dir / "report.json").read_bytes() == before


def test_a_removed_line_is_missing_until_it_is_played_again(run_dir: Path) -> None:
    """As the documentation says: remove its line from the journal and give the same command."""
    lines = (run_dir / JOURNAL).read_text().splitlines(True)
    (run_dir / JOURNAL).write_text("".join(lines[1:]))
    assert cli.main(["report", str(run_dir)]) == 0
    assert json.loads((run_dir / "report.json").read_text())["missing"] == [
        {"case": "E2-pred-s0", "number": 1, "episodes": "0"}
    ]


def test_records_of_the_executor_are_signed_and_make_a_chain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.run import executor as module
    from bench.run.executor import Executor

    plan = small_plan()
    run_dir = tmp_path / "results" / plan.run_name

    def stage(context: Any, case: Any) -> dict[str, Any]:
        name = "checkpoints" if case.kind == "train" else "stray"
        folder = (
            context.run_dir / name / case.id if case.kind == "train" else context.cache / case.id
        )
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_text(case.id)
        return {
            "artefacts": {"checkpoint" if case.kind in ("base", "train") else "dataset": folder}
        }

    monkeypatch.setattr(module, "STAGES", dict.fromkeys(module.STAGES, stage))
    Executor(plan, run_dir).ensure("E0-train-s0")
    base, train = (
        json.loads((run_dir / "cases" / f"{case}.json").read_text())
        for case in ("base", "E0-train-s0")
    )
    assert is_intact(base)
    assert is_intact(train)
    assert train["sums"]["checkpoint"] == base["sums"]["outside"]["checkpoint"]
    assert train["sums"]["files"] == {
        "checkpoints/E0-train-s0": sha256_of(run_dir / "checkpoints" / "E0-train-s0")
    }


def test_sealing_again_changes_nothing(original: Path, run_dir: Path) -> None:
    write_report(run_dir)
    write_manifest(run_dir, ran=True)
    assert (run_dir / MANIFEST).read_bytes() == (original / MANIFEST).read_bytes()


def test_a_run_of_several_seeds_and_shards_is_right(tmp_path: Path) -> None:
    plan = small_plan(seeds=(0, 1), arms=("E0", "E2"), episodes=3)
    run_dir = write_run(tmp_path / "run", plan, drawn_outcomes(plan, REALISTIC))
    journal = run_dir / "episodes" / "E0-none-s1.jsonl"
    lines = journal.read_text().splitlines(True)
    journal.with_name("E0-none-s1.shard-1-of-2.jsonl").write_text("".join(lines[::2]))
    journal.with_name("E0-none-s1.shard-2-of-2.jsonl").write_text("".join(lines[1::2]))
    journal.unlink()
    finish(run_dir, plan)
    write_report(run_dir)
    write_manifest(run_dir, ran=True)
    assert told(run_dir) == []


def test_a_sequential_run_is_right(tmp_path: Path) -> None:
    plan = small_plan(sequential="obrien-fleming", episodes=24)
    assert told(sealed_run(tmp_path / "run", plan)) == []
