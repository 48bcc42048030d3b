"""The command line: exit codes, one line for bad usage, and no waiting for what a command does not
need."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from synthetic_run import REALISTIC, core_plan, drawn_outcomes, write_run

from bench import cli
from bench.plan.cases import Case
from bench.plan.files import load_plan, plan_from_json
from bench.run import executor
from bench.run.stages.context import Context
from bench.verify.manifest import seal_of
from wmvla.rollout.lock import lock

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    plan = core_plan("mini")
    return write_run(tmp_path / plan.run_name, plan, drawn_outcomes(plan, REALISTIC))


def error_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What bad usage says: exit code 2, one line on stderr, nothing on stdout."""
    code: object = None
    try:
        code = cli.main(arguments)
    except SystemExit as stopped:
        code = stopped.code
    told = capsys.readouterr()
    assert code == 2
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert told.err.startswith("error: ")
    return told.err


@pytest.mark.parametrize("command", ["plan", "run"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["croe"], "unknown suite 'croe'; did you mean 'core'?"),
        (["x" * 300], f"unknown suite '{'x' * 300}'"),
        (["core", "--scale", "mni"], "unknown scale 'mni' of suite 'core'; did you mean 'mini'?"),
        (["core", "--machine=h200"], "unknown machine 'h200'"),
        (["core", "--arms=E0,E9"], "unknown arm 'E9'"),
        (["core", "--episodes=0"], "EPISODES=0: must be at least 1"),
        (["core", "--episodes=10,20"], "EPISODES=10,20: give one number for every arm"),
        (["core", "--episodes="], "EPISODES=: not a whole number"),
        (["core", "--steps=10", "--total-samples=9999"], "disagree"),
        (["core", "--sclae=mini"], "unrecognized arguments: --sclae=mini"),
    ],
)
def test_bad_usage_is_one_line(
    capsys: pytest.CaptureFixture[str], command: str, arguments: list[str], message: str
) -> None:
    assert message in error_of(capsys, command, *arguments)


def test_other_bad_usage(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "arguments are required: COMMAND" in error_of(capsys)
    assert "invalid choice: 'pln'" in error_of(capsys, "pln")
    for command in ("status", "report", "videos"):
        assert "not a run directory" in error_of(capsys, command, str(tmp_path))
        assert "not a run directory" in error_of(capsys, command, str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    "command", ["status", "report", "verify", "videos", "pack", "pull", "compare"]
)
def test_a_path_that_is_too_long_is_one_line(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    path = "x" * 300
    assert path in error_of(capsys, command, *[path] * (2 if command == "compare" else 1))


def test_a_misspelt_key_in_a_suite_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ROOT / "tests" / "resources" / "bad" / "suites", tmp_path / "suites")
    monkeypatch.setattr("bench.plan.make.SUITES", tmp_path / "suites")
    told = error_of(capsys, "plan", "misspelt_key")
    assert "unknown key 'scales.tiny.rollout.episods'; did you mean 'episodes'?" in told


def test_plan_says_what_would_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.main(["plan", "core", "--scale=mini", "--machine=cpu", f"--results={tmp_path}"]) == 0
    told = capsys.readouterr().out
    plan = core_plan("mini")
    for wanted in (
        plan.hash,
        str(tmp_path / plan.run_name),
        "E2-random-s0",
        "= 120",
        "margin 5 points",
        "at least 87",
        "paired episodes can show",
    ):
        assert wanted in told
    assert "cannot run" not in told
    assert list(tmp_path.iterdir()) == []


def test_plan_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", "--scale=full", "--machine=cpu"]) == 0
    assert "cannot run     a GPU is needed" in capsys.readouterr().out


def test_plan_says_first_that_it_cannot_run(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["plan", "--scale=full", "--machine=cpu"]
    assert cli.main([*asked, "--check"]) == 1
    assert capsys.readouterr().out.startswith("cannot run     a GPU is needed")
    assert cli.main([*asked, "--check", "--json"]) == 1
    assert cli.main(["plan", "--scale=smoke", "--machine=cpu", "--check"]) == 0


def test_plan_as_json_is_the_plan(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", "--scale=smoke", "--machine=cpu", "--seeds=3", "--json"]) == 0
    plan = plan_from_json(json.loads(capsys.readouterr().out))
    assert plan == core_plan("smoke", seeds=(3,))


def test_run_at_full_scale_says_what_is_missing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    told = error_of(capsys, "run", "core", "--scale=full", "--machine=cpu", f"--results={tmp_path}")
    assert "scale 'full' cannot run here: a GPU is needed" in told
    assert list(tmp_path.iterdir()) == []


def test_run_with_an_unknown_tracker(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    told = error_of(
        capsys,
        "run",
        "core",
        "--scale=smoke",
        "--trackers=wandb,tensorbord",
        f"--results={tmp_path}",
    )
    assert "unknown tracker 'tensorbord'; did you mean 'tensorboard'?" in told
    assert list(tmp_path.iterdir()) == []


def test_run_in_the_directory_of_another_plan(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    plan, other = core_plan("smoke"), core_plan("smoke", episodes=1)
    write_run(tmp_path / plan.run_name, other, {})
    told = error_of(capsys, "run", "--scale=smoke", "--machine=cpu", f"--results={tmp_path}")
    assert "run directory of another plan" in told


def test_a_second_run_in_one_directory(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with lock(tmp_path / core_plan("smoke").run_name):
        told = error_of(capsys, "run", "--scale=smoke", "--machine=cpu", f"--results={tmp_path}")
    assert "another run is running in this directory" in told


@pytest.mark.parametrize("fails", [False, True])
def test_run_reports_and_says_how_it_went(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """With stages that do nothing, or of which one fails: the others go on, and a report is
    written."""

    def stage(context: Context, case: Case) -> dict[str, object]:
        print("what a library says")
        if fails and case.kind == "latents":
            raise RuntimeError("the disk melted")
        steps = {"steps": context.plan.recipe.training.steps} if case.kind == "train" else {}
        return {"artefacts": {}, **steps}

    plan = core_plan("smoke")
    write_run(tmp_path / plan.run_name, plan, drawn_outcomes(plan, REALISTIC), metrics=False)
    for case in plan.cases:
        record = tmp_path / plan.run_name / "cases" / f"{case.id}.json"
        if case.kind == "rollout":
            record.write_text(
                json.dumps({**json.loads(record.read_text()), "episodes": len(plan.episodes)})
            )
        elif case.kind != "replay":
            record.unlink()
    monkeypatch.setattr(executor, "STAGES", dict.fromkeys(executor.STAGES, stage))
    asked = ["run", "core", "--scale=smoke", "--machine=cpu", f"--results={tmp_path}"]
    assert cli.main(asked) == int(fails)
    lines = capsys.readouterr().out.splitlines()
    assert ("  latents         failed: the disk melted" in lines) == fails
    assert ("  wiring-gate     failed: as latents did" in lines) == fails
    assert any(line.startswith("  base            done in ") for line in lines)
    report = tmp_path / plan.run_name / "report.html"
    assert lines[-2].startswith("core at smoke on cpu: INCONCLUSIVE: nothing can be concluded")
    assert lines[-1] == f"report: {report}"
    assert report.exists()
    assert load_plan(report.parent) == plan
    if not fails:
        assert cli.main(asked) == 0
        assert f"  {len(plan.cases)} of {len(plan.cases)} cases were done before" in (
            capsys.readouterr().out.splitlines()
        )


def test_report_is_rebuilt(capsys: pytest.CaptureFixture[str], run_dir: Path) -> None:
    assert cli.main(["report", str(run_dir)]) == 0
    seal, verdict, path = capsys.readouterr().out.splitlines()
    assert seal == f"seal: {seal_of(run_dir)}"
    assert verdict.startswith("core at mini on cpu: INCONCLUSIVE: ")
    assert path == f"report: {run_dir / 'report.html'}"
    assert cli.main(["report", str(run_dir), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    schema = json.loads((ROOT / "bench" / "formats" / "schemas" / "report.schema.json").read_text())
    jsonschema.validate(content, schema)


def test_status(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    plan = core_plan("mini")
    outcomes = drawn_outcomes(plan, REALISTIC)
    outcomes = {
        "E0-none-s0": outcomes["E0-none-s0"],
        "E1-zero-s0": [True, False, "error", *[None] * 21],
    }
    run_dir = write_run(tmp_path / "run", plan, outcomes)
    for case_id in ("E1-zero-s0", "E2-pred-s0", "E2-zero-s0", "E2-random-s0"):
        (run_dir / "cases" / f"{case_id}.json").unlink()
    assert cli.main(["status", str(run_dir)]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "15 of 19 cases done" in lines[f"{plan.run_name}:"]
    assert "done   24/24 episodes, " in lines["E0-none-s0"]
    assert (
        "begun  3/24 episodes, 1 solved (33 %), 1 broken, 21 missing: 3-23" in lines["E1-zero-s0"]
    )
    assert "-      0/24 episodes" in lines["E2-pred-s0"]
    assert "done   600/600 steps" in lines["E1-train-s0"]
    assert cli.main(["status", str(run_dir), "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert status["done"] == 15
    (case,) = (case for case in status["cases"] if case["case"] == "E1-zero-s0")
    assert case == {
        "case": "E1-zero-s0",
        "kind": "rollout",
        "done": False,
        "finished": 3,
        "planned": 24,
        "successes": 1,
        "broken": 1,
        "missing": list(range(3, 24)),
    }


def test_status_says_why_a_case_failed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run_dir = write_run(tmp_path / "run", core_plan("mini"), {}, records=False)
    (run_dir / "failures").mkdir()
    (run_dir / "failures" / "wiring-gate.json").write_text(
        '{"case": "wiring-gate", "error": "the gate has no gradient"}'
    )
    assert cli.main(["status", str(run_dir)]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert lines["wiring-gate"].split(maxsplit=1)[1] == "failed the gate has no gradient"
    assert "failed" not in lines["wiring-nan"]


def test_doctor_gets_its_arguments_and_gives_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def main(arguments: list[str]) -> int:
        seen.append(arguments)
        return 1

    monkeypatch.setattr("bench.doctor.checks.main", main)
    assert cli.main(["doctor", "--json"]) == 1
    assert seen == [["--json"]]


@pytest.mark.parametrize("command", ["plan", "run", "submit", "status", "report", "videos"])
def test_every_command_has_help(capsys: pytest.CaptureFixture[str], command: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main([command, "--help"])
    assert stopped.value.code == 0
    assert "usage: wmbench" in capsys.readouterr().out


def test_help_waits_for_nothing_heavy() -> None:
    script = (
        "import sys, bench.cli\ntry: bench.cli.main(['plan', '--help'])\nexcept SystemExit:"
        " pass\nheavy = {'torch', 'lerobot', 'scipy', 'numpy', 'jinja2', 'matplotlib'} &"
        " set(sys.modules)\nsys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "arguments", [["plan", "--machine=cpu"], ["plan", "--machine=cpu", "--json"]]
)
def test_plan_does_not_wait_for_torch(arguments: list[str]) -> None:
    script = (
        f"import sys, bench.cli; bench.cli.main({arguments!r}); sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr


def test_a_reader_that_stops_early_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -m bench.cli plan --machine=cpu --json | head -1",
        shell=True,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        check=True,
    )
    assert done.stdout == "{\n"
    assert done.stderr == ""


@pytest.mark.parametrize("closed", [">&-", "| true", "2>&1 | true"])
def test_a_closed_pipe_leaves_the_answer_as_it_is(closed: str, tmp_path: Path) -> None:
    """As ``wmbench verify DIR | head -1`` has it when something is wrong."""
    (tmp_path / "plan.json").write_text("{")
    done = subprocess.run(
        [
            "bash",
            "-c",
            f"set -o pipefail; (sleep 2; exec {sys.executable} -m bench.cli verify {tmp_path}) {closed}",
        ],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr == ""


def test_a_sequential_plan_tells_when_it_looks(capsys: pytest.CaptureFixture[str]) -> None:
    """The bare option is O'Brien and Fleming's."""
    arguments = ["plan", "core", "--scale=mini", "--machine=cpu"]
    assert cli.main([*arguments, "--sequential"]) == 0
    bare = capsys.readouterr().out
    assert (
        "looks          after 5, 10, 15, 20 and 24 initial states of each task, with the error "
        "spending of O'Brien-Fleming" in bare
    )
    assert cli.main([*arguments, "--sequential=obrien-fleming"]) == 0
    assert capsys.readouterr().out == bare
    assert cli.main(arguments) == 0
    assert "looks" not in capsys.readouterr().out


def test_an_option_that_swallows_the_suite_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        error_of(capsys, "plan", "--sequential", "core")
        == "error: SEQUENTIAL=core: must be one of obrien-fleming, pocock\n"
    )


def test_an_interrupt_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bench.verify.verify.verify", interrupted)
    assert cli.main(["verify", str(tmp_path)]) == 130
    assert capsys.readouterr().err == "interrupted\n"
