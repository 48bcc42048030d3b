"""`wmbench submit` and `wmbench status` as a user types them, without a Slurm."""

import json
import re
from pathlib import Path

import pytest
from synthetic_run import core_plan, write_run

from bench import cli
from bench.commands.submit import site_of
from bench.run.slurm import queue

ASKED = ("submit", "core", "--scale=smoke", "--machine=cpu")


@pytest.fixture(autouse=True)
def no_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine has."""
    monkeypatch.setattr(queue.shutil, "which", lambda name: None)


def headers(text: str) -> dict[str, str]:
    """What each script waits for, by its name."""
    found = re.findall(
        r"^# sbatch (?:--dependency=(\S+) )?\S+/slurm/(\S+)\.sh$", text, re.MULTILINE
    )
    return {name: waiting for waiting, name in found}


def test_dry_run_prints_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*ASKED, f"--results={tmp_path}/results", "--shards=2", "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
    plan = core_plan("smoke")
    found = headers(told)
    assert (
        len(found) == told.count("#!/bin/bash") == len(plan.cases) + len(plan.rollout_cases()) + 1
    )
    assert found["demonstrations"] == ""
    assert found["E2-pred-s0.shards"] == "afterok:<E2-train-s0>"
    assert found["E2-pred-s0"] == "afterok:<E2-pred-s0.shards>"
    assert found["report"] == "afterany:" + ":".join(
        f"<{name}>" for name in found if name != "report"
    )
    # Every job is told what the login node found out.
    run = f"-m bench.cli run core --scale=smoke --machine=cpu --results={tmp_path}/results --case="
    assert told.count(run) == len(found) - 1


def test_what_is_done_is_not_submitted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = core_plan("smoke")
    run_dir = write_run(tmp_path / "results" / plan.run_name, plan, {})
    for case in plan.cases:
        if case.arm == "E2":
            (run_dir / "cases" / f"{case.id}.json").unlink()
    assert cli.main([*ASKED, f"--results={tmp_path}/results", "--dry-run"]) == 0
    found = headers(capsys.readouterr().out)
    # The other arms' rollouts have records, and no episodes: they are not done.
    assert {name for name in found if "train" in name or "replay" in name} == {
        "E2-train-s0",
        "E2-replay-s0",
    }
    assert (found["E2-train-s0"], found["E0-none-s0"]) == ("", "")
    assert found["E2-pred-s0"] == "afterok:<E2-train-s0>"


def test_a_sequential_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = (
        "submit",
        "core",
        "--scale=mini",
        "--machine=cpu",
        "--sequential",
        f"--results={tmp_path}",
        "--dry-run",
    )
    assert cli.main(asked) == 0
    told = capsys.readouterr().out
    assert headers(told)["rollouts"] == "afterany:<E0-train-s0>:<E1-train-s0>:<E2-train-s0>"
    (line,) = [line for line in told.splitlines() if "--case=E0-none-s0" in line]
    assert "--sequential=obrien-fleming" in line
    assert line.endswith(
        "--case=E0-none-s0 --case=E1-zero-s0 --case=E2-pred-s0 --case=E2-zero-s0"
        " --case=E2-random-s0 &"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--shards=0"], "SHARDS=0: give a whole number, 1 or more"),
        (["--shards=1/4"], "SHARDS=1/4: give a whole number"),
        (["--cpus=many"], "CPUS=many: give a whole number"),
        (["--shards=2", "--sequential"], "--sequential cannot be used with 2 shards"),
        (["--container=apptainer"], "--container=apptainer needs --image"),
        (["--container=apptainer", "--image=/nowhere.sif"], "--image=/nowhere.sif: no such file"),
        (["--image=x.sif"], "has no effect without --container"),
        (["--container=docker", "--image=x"], "invalid choice: 'docker'"),
        (["--trackers=mlflow"], "unknown tracker 'mlflow'"),
        ([], "sbatch is not installed here"),
    ],
)
def test_bad_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    try:
        code: object = cli.main([*ASKED, f"--results={tmp_path}/results", *arguments])
    except SystemExit as stopped:
        code = stopped.code
    told = capsys.readouterr()
    assert (code, told.out, told.err.count("\n")) == (2, "", 1)
    assert message in told.err
    assert not (tmp_path / "results").exists()


def test_an_image_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("wmbench.sif").write_text("")
    options = cli.make_parser().parse_args(
        [*ASKED, "--container=apptainer", "--image=wmbench.sif", "--results=here"]
    )
    site = site_of(core_plan("smoke"), options)
    assert (site.image, site.run_dir.parent) == (f"{tmp_path}/wmbench.sif", tmp_path / "here")


QUEUE = """\
11|N/A|FAILED|NonZeroExitCode
12|1|COMPLETED|None
12|2|RUNNING|None
12|3|RUNNING|None
13|N/A|PENDING|Dependency
20|N/A|RUNNING|None
14|N/A|CANCELLED|DependencyNeverSatisfied
30|N/A|PENDING|Dependency
"""


@pytest.fixture
def submitted_run(tmp_path: Path) -> Path:
    """A run whose training of E0 failed while E1 is played."""
    plan = core_plan("smoke")
    run_dir = write_run(tmp_path / plan.run_name, plan, {}, metrics=False)
    for case in plan.cases:
        if case.arm:
            (run_dir / "cases" / f"{case.id}.json").unlink()
    jobs = [
        ("base", "10", ["base"], 1),
        ("E0-train-s0", "11", ["E0-train-s0"], 1),
        ("E1-zero-s0.shards", "12", ["E1-zero-s0"], 3),
        ("E1-zero-s0", "13", ["E1-zero-s0"], 1),
        ("E0-none-s0", "14", ["E0-none-s0"], 1),
        ("E2-train-s0", "20", ["E2-train-s0"], 1),
        ("E1-train-s0", "21", ["E1-train-s0"], 1),
        ("report", "30", [], 1),
    ]
    told = [
        {
            "name": name,
            "id": id,
            "queue_name": f"{plan.run_name}:{name}",
            "cases": cases,
            "shards": n,
        }
        for name, id, cases, n in jobs
    ]
    queue.write_json(queue.jobs_path(run_dir), {"jobs": told})
    return run_dir


def slurm_says(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> None:
    (folder / "squeue").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin")
    monkeypatch.setattr(queue.shutil, "which", lambda name: str(folder / name))


def test_status_reads_the_queue(
    submitted_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    slurm_says(monkeypatch, tmp_path, f"cat <<'END'\n{QUEUE}END")
    assert cli.main(["status", str(submitted_run)]) == 0
    told = {
        line.split()[0]: " ".join(line.split()[1:])
        for line in capsys.readouterr().out.splitlines()[1:]
    }
    assert told["base"] == "done"
    assert told["E0-train-s0"] == "- 0/2 steps job 11 failed (NonZeroExitCode)"
    assert told["E0-none-s0"].endswith("job 14 cancelled (DependencyNeverSatisfied)")
    assert told["E1-zero-s0"].endswith(
        "job 12: 1 completed, 2 running; job 13 pending (Dependency)"
    )
    assert told["E2-train-s0"].endswith("job 20 running")
    assert told["E1-train-s0"].endswith("job 21 has left the queue")
    assert told["report"] == "job 30 pending (Dependency)"

    assert cli.main(["status", str(submitted_run), "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    found = {case["case"]: case.get("jobs") for case in status["cases"]}
    assert found["base"] is None
    failed = {"index": None, "state": "FAILED", "reason": "NonZeroExitCode"}
    assert found["E0-train-s0"] == [{"name": "E0-train-s0", "id": "11", "tasks": [failed]}]
    assert [job["name"] for job in status["jobs"]] == ["report"]


def test_status_without_a_queue(
    submitted_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["status", str(submitted_run)]) == 0
    quiet = capsys.readouterr()
    assert "job" not in quiet.out
    slurm_says(monkeypatch, tmp_path, "echo 'squeue: error: no controller' >&2; exit 1")
    assert cli.main(["status", str(submitted_run)]) == 0
    told = capsys.readouterr()
    assert told.out == quiet.out
    assert told.err.startswith("the state of the queue is not known: squeue failed")
    assert told.err.endswith(": no controller\n")
