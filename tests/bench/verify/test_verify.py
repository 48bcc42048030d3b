"""What `wmbench verify` says of good runs, of unfinished and old ones, and of those that somebody
changed with care."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sealed_run import JOURNAL, edit, edit_line, finish, small_plan, told, unsealed_run
from synthetic_run import REALISTIC, drawn_outcomes, write_run

from bench import cli
from bench.formats.checksums import sha256_of, signed
from bench.report.write import write_report
from bench.verify.manifest import MANIFEST, files_of, seal_of, write_manifest
from bench.verify.verify import verify
from wmvla.errors import UserError

ROOT = Path(__file__).parents[3]
REFERENCES = sorted((ROOT / "results" / "reference").glob("*/plan.json"))


def seal_again(run_dir: Path) -> None:
    """As somebody does who wants a change to look right: records, report and manifest made anew."""
    (run_dir / MANIFEST).unlink()
    for path in (run_dir / "cases").glob("*.json"):
        record = json.loads(path.read_text())
        files = record["sums"]["files"]
        record["sums"]["files"] = {name: sha256_of(run_dir / name) for name in files}
        path.write_text(json.dumps(signed(record), indent=1) + "\n")
    try:
        write_report(run_dir)
        write_manifest(run_dir, ran=True)
    except UserError:
        pass


IMAGES = {name: f"sha256:{name * 64}" for name in "ab"}


def in_images(run_dir: Path, began: str | None, **cases: str | None) -> list[str]:
    """The notes on images, of a run that began in one and has cases that were carried out in
    these."""
    edit(run_dir / "provenance.json", lambda document: document.update(image_digest=began))
    for case, image in cases.items():
        edit(
            run_dir / "cases" / f"{case.replace('_', '-')}.json",
            lambda record, image=image: record.update(image_digest=image),
        )
    seal_again(run_dir)
    verified = verify(run_dir)
    assert verified.damages == ()
    return [note for note in verified.notes if "image" in note]


def test_a_case_of_another_image_is_told(run_dir: Path) -> None:
    assert in_images(run_dir, IMAGES["a"], base=IMAGES["a"], E2_pred_s0=IMAGES["a"]) == []
    report = (run_dir / "report.html").read_text()
    assert IMAGES["a"] in report
    assert in_images(run_dir, IMAGES["a"], E2_pred_s0=IMAGES["b"], E2_zero_s0=None) == [
        (
            "the run began in image sha256:aaaaaaaaaaaa..., but E2-pred-s0 is of image"
            " sha256:bbbbbbbbbbbb..."
        ),
        "the run began in image sha256:aaaaaaaaaaaa..., but E2-zero-s0 is of no image",
    ]
    assert in_images(run_dir, None, base=None, E2_pred_s0=IMAGES["b"], E2_zero_s0=IMAGES["b"]) == [
        "the run began in no image, but E2-pred-s0, E2-zero-s0 are of image sha256:bbbbbbbbbbbb..."
    ]


def test_an_image_digest_that_is_none_is_named(run_dir: Path) -> None:
    edit(run_dir / "provenance.json", lambda document: document.update(image_digest="latest"))
    seal_again(run_dir)
    assert any(damage.startswith("provenance.json: 'image_digest'") for damage in told(run_dir))
    edit(run_dir / "provenance.json", lambda document: document.update(image_digest=IMAGES["a"]))
    edit(run_dir / "cases" / "base.json", lambda record: record.update(image_digest="latest"))
    assert any(damage.startswith("cases/base.json: 'image_digest'") for damage in told(run_dir))


def test_a_sealed_run_is_right(original: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", str(original)]) == 0
    out = capsys.readouterr().out
    assert "3 of 3 reports made again, byte for byte" in out
    assert f"seal: {seal_of(original)}" in out
    assert out.endswith("(sealed): nothing is wrong\n")


def test_the_seal_is_what_sha256sum_gives(original: Path) -> None:
    evidence = "find plan.json provenance.json cases episodes metrics replays -type f"
    command = f"{evidence} | LC_ALL=C sort | xargs sha256sum | sha256sum"
    done = subprocess.run(
        ["sh", "-c", command], cwd=original, capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[0] == seal_of(original)


def test_verifying_writes_nothing_and_needs_no_torch(original: Path) -> None:
    before = {
        name: (path.read_bytes(), path.stat().st_mtime_ns)
        for name, path in files_of(original).items()
    }
    script = (
        "import sys, socket, bench.cli\n"
        "socket.socket.connect = lambda *a: sys.exit('network')\n"
        f"code = bench.cli.main(['verify', {str(original)!r}])\n"
        "sys.exit(code or 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert {
        name: (path.read_bytes(), path.stat().st_mtime_ns)
        for name, path in files_of(original).items()
    } == before


@pytest.mark.parametrize("plan", REFERENCES, ids=lambda path: path.parent.name)
def test_the_committed_runs_are_right(plan: Path) -> None:
    assert told(plan.parent) == []


def test_json_tells_the_same(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit_line(run_dir / "metrics" / "E0-train-s0.jsonl", 2, step=99)
    assert cli.main(["verify", "--json", str(run_dir)]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["state"]) == (False, "sealed")
    assert {damage["file"] for damage in found["damages"]} == {"metrics/E0-train-s0.jsonl"}
    assert any("line 2: 'step' is 99" in damage["what"] for damage in found["damages"])


def test_a_published_seal_is_held_against_the_evidence(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seal = seal_of(run_dir)
    assert cli.main(["verify", str(run_dir), "--seal", seal]) == 0
    edit_line(run_dir / "episodes" / "E2-pred-s0.jsonl", 1, seconds=1.0)
    seal_again(run_dir)
    capsys.readouterr()
    assert cli.main(["verify", str(run_dir), "--seal", seal]) == 1
    assert "WRONG: the seal: is " in capsys.readouterr().out


def test_what_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", str(tmp_path)]) == 2
    assert (
        capsys.readouterr().err == f"error: {tmp_path}: not a run directory (it has no plan.json)\n"
    )


def test_an_unfinished_run_is_said_to_be_one(tmp_path: Path) -> None:
    plan = small_plan()
    outcomes = {
        **drawn_outcomes(plan, REALISTIC),
        "E2-random-s0": [True, False, None, None, None, None],
    }
    run_dir = finish(write_run(tmp_path / "run", plan, outcomes), plan)
    (run_dir / "cases" / "E2-random-s0.json").unlink()
    with (run_dir / "episodes" / "E2-random-s0.jsonl").open("a") as journal:
        journal.write('{"index": 2, "ca')  # kill -9
    write_report(run_dir)
    assert write_manifest(run_dir, ran=False) is None
    verified = verify(run_dir)
    assert (verified.state, verified.damages) == ("unfinished", ())
    assert (
        "episodes/E2-random-s0.jsonl: line 3 is only half written; it does not count"
        in verified.notes
    )
    assert any(
        "1 of 19 cases are not done, 4 episodes are missing" in note for note in verified.notes
    )
    edit_line(run_dir / "metrics" / "E1-train-s0.jsonl", 3, loss_total=0.01)
    assert [
        "metrics/E1-train-s0.jsonl: changed after E1-train-s0 ended" in line
        for line in told(run_dir)
    ] == [True]


def test_a_half_line_of_a_case_that_is_done_is_wrong(run_dir: Path) -> None:
    with (run_dir / "episodes" / "E2-random-s0.jsonl").open("a") as journal:
        journal.write('{"index": 2, "ca')
    assert any("E2-random-s0.jsonl: line 7: cut off" in line for line in told(run_dir))


def test_a_finished_run_without_its_manifest_is_wrong(run_dir: Path) -> None:
    (run_dir / MANIFEST).unlink()
    assert told(run_dir) == [
        "manifest.json: missing, and the run is finished and has a report; wmbench report writes"
        " both"
    ]


def test_a_run_that_nobody_has_reported_is_not_sealed(tmp_path: Path) -> None:
    verified = verify(unsealed_run(tmp_path / "run"))
    assert (verified.state, verified.damages) == ("not sealed", ())


@pytest.mark.parametrize(
    ("change", "file", "what"),
    [
        (
            lambda run: edit_line(run / JOURNAL, 2, noise_seed=1),
            JOURNAL,
            "line 2: 'noise_seed' is 1, the plan says ",
        ),
        (
            lambda run: edit_line(run / JOURNAL, 2, index=77),
            JOURNAL,
            "line 2: 'index' is 77, the plan's table has 6",
        ),
        (
            lambda run: edit_line(run / JOURNAL, 2, case="E0-none-s0"),
            JOURNAL,
            "line 2: 'case' is 'E0-none-s0'",
        ),
        (
            lambda run: edit_line(run / JOURNAL, 2, scene_hash="f00"),
            JOURNAL,
            "line 2: the scene of libero_object task 7",
        ),
        (
            lambda run: edit_line(run / JOURNAL, 2, status="timeout", success=True),
            JOURNAL,
            "line 2: 'success' is true",
        ),
        (lambda run: edit_line(run / JOURNAL, 2, steps=5000), JOURNAL, "line 2: 'steps' is 5000"),
        (
            lambda run: edit_line(run / JOURNAL, 2, seconds=float("nan")),
            JOURNAL,
            "line 2: not valid JSON: it contains NaN",
        ),
        (
            lambda run: edit_line(run / JOURNAL, 2, success="yes"),
            JOURNAL,
            "line 2: 'success' must be true or false, not 'yes'",
        ),
        (
            lambda run: (run / JOURNAL).write_text(
                (run / JOURNAL).read_text() + (run / JOURNAL).read_text().splitlines()[0] + "\n"
            ),
            JOURNAL,
            "line 7: episode 0 is already in episodes/E2-pred-s0.jsonl line 1",
        ),
        (
            lambda run: (run / JOURNAL).write_text(
                "".join((run / JOURNAL).read_text().splitlines(True)[:4])
            ),
            JOURNAL,
            "episodes 4, 5 are missing, but cases/E2-pred-s0.json says that the case is done",
        ),
        (
            lambda run: shutil.copy(run / JOURNAL, run / "episodes" / "E9-pred-s0.jsonl"),
            "episodes/E9-pred-s0.jsonl",
            "not the journal of a rollout of the plan",
        ),
        (
            lambda run: edit(
                run / "cases" / "E2-pred-s0.json", lambda record: record.update(succeeded=0)
            ),
            "cases/E2-pred-s0.json",
            "'succeeded' is 0, its journal gives ",
        ),
        (
            lambda run: edit(
                run / "cases" / "E2-replay-s0.json",
                lambda record: record["prophet"]["cosine"].append(1.0),
            ),
            "cases/E2-replay-s0.json",
            "'prophet' is not what replays/E2-replay-s0.jsonl gives",
        ),
        (
            lambda run: edit(
                run / "cases" / "E1-train-s0.json",
                lambda record: record["last"].update(loss_total=0.0),
            ),
            "cases/E1-train-s0.json",
            "'last': differs from the last line of metrics/E1-train-s0.jsonl in loss_total",
        ),
        (
            lambda run: edit(
                run / "cases" / "E2-pred-s0.json",
                lambda record: record["sums"].update(checkpoint="0" * 64),
            ),
            "cases/E2-pred-s0.json",
            "'sums.checkpoint': it started from checkpoint 000000000000...",
        ),
        (
            lambda run: edit(run / "plan.json", lambda plan: plan.update(alpha=0.1)),
            "plan.json",
            "its content does not match its 'hash'",
        ),
        (
            lambda run: (run / "provenance.json").write_text('{"packages": 5}'),
            "provenance.json",
            "'packages' must be a table, not 5",
        ),
        (
            lambda run: (run / "metrics" / "x.jsonl").write_text(""),
            "metrics/x.jsonl",
            "not the metrics of a training of the plan",
        ),
    ],
)
@pytest.mark.parametrize("again", [False, True], ids=["changed", "sealed-again"])
def test_what_does_not_fit_together_is_named(
    run_dir: Path, change: Callable[[Path], object], file: str, what: str, again: bool
) -> None:
    """Also where records and manifest were made anew: the sums are right then, and the content
    still is not."""
    change(run_dir)
    if again:
        seal_again(run_dir)
    assert any(line.startswith(f"{file}: {what}") for line in told(run_dir)), told(run_dir)


def test_a_number_in_the_report_is_named_by_its_place(run_dir: Path) -> None:
    edit(run_dir / "report.json", lambda report: report["claims"][0].update(difference=0.25))
    assert any(
        "report.json: 'claims[E1 = E0].difference'" in line and "it says 0.25" in line
        for line in told(run_dir)
    ), told(run_dir)


@pytest.mark.parametrize("name", ["report.md", "report.html"])
def test_a_line_of_a_report_is_named(run_dir: Path, name: str) -> None:
    text = (run_dir / name).read_text()
    assert "INCONCLUSIVE" in text
    (run_dir / name).write_text(text.replace("INCONCLUSIVE", "SUPPORTED", 1))
    assert any(
        line.startswith(f"{name}: line ") and "is not what the evidence gives" in line
        for line in told(run_dir)
    )


def test_a_report_of_another_version_is_held_to_its_numbers(run_dir: Path) -> None:
    def other_version(manifest: dict[str, Any]) -> None:
        manifest["program_sha256"] = "0" * 64
        for name in ("report.json", "report.html"):
            path = run_dir / name
            manifest["files"][name] = {"bytes": path.stat().st_size, "sha256": sha256_of(path)}

    edit(run_dir / "report.json", lambda report: report.update(reproduce="another wording"))
    (run_dir / "report.html").write_text("<p>another look</p>")
    edit(run_dir / MANIFEST, other_version)
    verified = verify(run_dir)
    assert verified.damages == ()
    assert any("written by another version of this program" in note for note in verified.notes)
    edit(run_dir / "report.json", lambda report: report["rates"][0].update(successes=0))
    edit(run_dir / MANIFEST, other_version)
    assert any("'rates[E0-none].successes': it says 0" in line for line in told(run_dir))


def test_what_was_left_out_is_told(run_dir: Path) -> None:
    shutil.rmtree(run_dir / "checkpoints")
    verified = verify(run_dir)
    assert verified.damages == ()
    assert any(note.startswith("checkpoints/ is not here (6 files)") for note in verified.notes)


def test_a_missing_file_and_an_unknown_one_are_named(run_dir: Path) -> None:
    (run_dir / "logs" / "E0-train-s0.log").unlink()
    (run_dir / "logs" / "mine.log").write_text("mine")
    assert told(run_dir) == [
        "logs/E0-train-s0.log: missing: manifest.json has a checksum of it",
        (
            "logs/mine.log: unknown: manifest.json has no checksum of it; if it is yours, "
            "wmbench report adds it"
        ),
    ]
