"""The queue as Slurm 22.05 told it, and submitting with a stand-in for sbatch."""

import json
from pathlib import Path

import pytest

from bench.run.slurm import queue
from bench.run.slurm.jobs import Job
from bench.run.slurm.queue import (
    Submitted,
    Task,
    parse_queue,
    read_queue,
    read_submitted,
    refuse_queued,
    require_slurm,
    submit,
)
from bench.run.slurm.script import Site
from wmvla.errors import UserError

RESOURCES = Path(__file__).parents[3] / "resources" / "slurm"
JOBS = (
    Job("base", ("base",)),
    Job("E0-train-s0", ("E0-train-s0",), ("base",)),
    Job("report", after=("base", "E0-train-s0"), whatever=True),
)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH beside the system's."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/bin")
    monkeypatch.setattr(
        queue.shutil, "which", lambda name: str(folder / name) if (folder / name).exists() else None
    )
    return folder


def stand_in(folder: Path, name: str, script: str) -> Path:
    """A program that notes how it was called and runs `script`."""
    calls = folder / f"{name}.calls"
    (folder / name).write_text(f'#!/bin/sh\necho "$*" >> {calls}\n{script}\n')
    (folder / name).chmod(0o755)
    return calls


def submitted(*names: str) -> list[Submitted]:
    return [
        Submitted(name, str(10 + number), f"run:{name}", (name,), 1)
        for number, name in enumerate(names)
    ]


def test_parsing() -> None:
    told = (
        "12|N/A|PENDING|Dependency\n11|2|RUNNING|None\n11|1|COMPLETED|None\n9|N/A|CANCELLED|a|b\n"
    )
    assert parse_queue(told) == [
        Task("9", None, "CANCELLED", "a|b"),
        Task("11", 1, "COMPLETED", None),
        Task("11", 2, "RUNNING", None),
        Task("12", None, "PENDING", "Dependency"),
    ]
    assert parse_queue("") == []


def test_submitting(programs: Path, tmp_path: Path, site: Site) -> None:
    calls = stand_in(
        programs, "sbatch", f'echo $((100 + $(wc -l < {programs}/sbatch.calls)))";cluster"'
    )
    own = Site(**{**vars(site), "run_dir": tmp_path / "run"})
    found = submit(own, JOBS)
    scripts = tmp_path / "run" / "slurm"
    assert calls.read_text().splitlines() == [
        f"--parsable {scripts}/base.sh",
        f"--parsable --dependency=afterok:101 {scripts}/E0-train-s0.sh",
        f"--parsable --dependency=afterany:101:102 {scripts}/report.sh",
    ]
    assert [(job.name, job.id, job.queue_name) for job in found] == [
        ("base", "101", "run:base"),
        ("E0-train-s0", "102", "run:E0-train-s0"),
        ("report", "103", "run:report"),
    ]
    assert read_submitted(tmp_path / "run") == found
    assert (tmp_path / "run" / "logs").is_dir()


def test_a_refusal_cancels_what_was_submitted(programs: Path, tmp_path: Path, site: Site) -> None:
    refusal = "echo 'sbatch: error: invalid partition specified: gpu' >&2; exit 1"
    stand_in(
        programs,
        "sbatch",
        f'[ "$(wc -l < {programs}/sbatch.calls)" -lt 3 ] && echo 10$(wc -l <'
        f" {programs}/sbatch.calls) && exit\n{refusal}",
    )
    cancelled = stand_in(programs, "scancel", "")
    own = Site(**{**vars(site), "run_dir": tmp_path / "run"})
    with pytest.raises(UserError) as refused:
        submit(own, JOBS)
    assert (
        str(refused.value)
        == f"sbatch failed ({tmp_path}/run/slurm/report.sh): invalid partition specified: gpu"
    )
    assert cancelled.read_text() == "101 102\n"


def test_without_slurm(programs: Path) -> None:
    assert read_queue(submitted("base")) is None
    with pytest.raises(UserError, match="sbatch is not installed here"):
        require_slurm()


def test_the_queue_is_asked_by_name_and_sifted_by_number(programs: Path) -> None:
    told = "printf '10|N/A|RUNNING|None\\n7|N/A|FAILED|NonZeroExitCode\\n'"
    calls = stand_in(programs, "squeue", told)
    assert read_queue(submitted("base", "latents")) == [Task("10", None, "RUNNING", None)]
    assert (
        calls.read_text()
        == "--noheader --array --states=all --format=%F|%K|%T|%r --name=run:base,run:latents\n"
    )
    assert read_queue([]) == []


def test_a_queue_that_does_not_answer(programs: Path) -> None:
    stand_in(
        programs,
        "squeue",
        "echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2;"
        " exit 1",
    )
    with pytest.raises(
        UserError,
        match=r"^squeue failed .*: slurm_load_jobs error: Unable to contact slurm controller",
    ):
        read_queue(submitted("base"))


@pytest.mark.parametrize(
    ("state", "refused"),
    [("PENDING", True), ("COMPLETING", True), ("FAILED", False), ("COMPLETED", False)],
)
def test_a_run_that_is_in_the_queue_is_not_submitted_again(
    programs: Path, tmp_path: Path, state: str, refused: bool
) -> None:
    stand_in(programs, "squeue", f"echo '11|N/A|{state}|None'")
    queue.write_json(
        queue.jobs_path(tmp_path), {"jobs": [vars(job) for job in submitted("base", "latents")]}
    )
    if not refused:
        refuse_queued(tmp_path)
        return
    with pytest.raises(UserError) as told:
        refuse_queued(tmp_path)
    assert str(told.value) == (
        f"{tmp_path}: 1 jobs of this run are in the queue, the first is 11 (latents); wait "
        "for them, or cancel them first: scancel 11"
    )


def test_damaged_jobs(tmp_path: Path) -> None:
    path = queue.jobs_path(tmp_path)
    path.parent.mkdir()
    for text in ("{", "[]", json.dumps({"jobs": [{"name": "base"}]})):
        path.write_text(text)
        with pytest.raises(UserError, match="not a list of submitted jobs"):
            read_submitted(tmp_path)
    assert read_submitted(tmp_path / "elsewhere") == []
