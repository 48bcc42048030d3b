"""Processes that srun starts: the losses of one, a job that rank 0 alone can read, and what ends
those that nobody meets."""

import os
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.forked import Forked, run_module
from tests.wmvla.conftest import TRAINING
from tests.wmvla.train.running import free_port, metrics
from wmvla.errors import UserError
from wmvla.processes import by_srun
from wmvla.train.checkpoint import latest_step
from wmvla.train.job import TrainingJob
from wmvla.train.loop import train
from wmvla.train.parallel import ranks
from wmvla.train.parallel.ranks import read_job

LAUNCHERS = (
    "RANK",
    "WORLD_SIZE",
    "LOCAL_RANK",
    "SLURM_PROCID",
    "SLURM_STEP_NUM_TASKS",
    "MASTER_ADDR",
    "MASTER_PORT",
)


def slurm(rank: int, ranks: int, port: str) -> dict[str, str]:
    """What a task of a job step on two nodes is told, and what the batch script adds."""
    told = {
        "SLURM_PROCID": str(rank),
        "SLURM_LOCALID": "0",
        "SLURM_NODEID": str(rank),
        "SLURM_STEP_NUM_TASKS": str(ranks),
    }
    return {**told, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Whatever started these tests."""
    for name in LAUNCHERS:
        monkeypatch.delenv(name, raising=False)
    ranks._store.cache_clear()
    return monkeypatch


def test_two_tasks_of_srun_train_like_one_process(
    arm, tmp_path: Path, alone: pytest.MonkeyPatch
) -> None:
    """Rank 1 has an old job in the place of its own, of a training that is at its end: it must not
    take that one."""
    job, reference = (
        arm(tmp_path / name, training=replace(TRAINING, steps=4)) for name in ("srun", "one")
    )
    train(reference)
    job.write(tmp_path / "job.json")
    reference.write(tmp_path / "old.json")
    port = free_port()
    children = [
        Forked(run_module("wmvla.train.main", str(tmp_path / name)), slurm(rank, 2, port))
        for rank, name in ((1, "old.json"), (0, "job.json"))
    ]
    for child in children:
        _, errors = child.communicate(timeout=180)
        assert child.returncode == 0, errors[-3000:]
    assert latest_step(Path(job.checkpoints)) == 4
    for ours, theirs in zip(metrics(job), metrics(reference), strict=True):
        assert ours["loss_total"] == pytest.approx(theirs["loss_total"], rel=1e-5, abs=1e-5)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({}, False),
        ({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}, False),
        ({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2"}, True),
        ({"RANK": "0", "WORLD_SIZE": "2", "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2"}, False),
    ],
)
def test_who_started_this_process(
    told: dict[str, str], expected: bool, alone: pytest.MonkeyPatch
) -> None:
    for name, value in told.items():
        alone.setenv(name, value)
    assert by_srun() is expected


def test_nobody_said_where_rank_0_is(arm, tmp_path: Path, alone: pytest.MonkeyPatch) -> None:
    path = arm(tmp_path).write(tmp_path / "job.json")
    assert read_job(path) == TrainingJob.read(path)
    for name, value in {**slurm(1, 2, "1"), "MASTER_PORT": ""}.items():
        alone.setenv(name, value)
    with pytest.raises(
        UserError,
        match="MASTER_PORT is not set; it says where rank 0 of 2 is: let wmbench submit write",
    ):
        read_job(path)


def test_a_rank_0_that_never_begins_is_not_waited_for_without_end(
    tmp_path: Path, alone: pytest.MonkeyPatch
) -> None:
    alone.setattr(ranks, "PATIENCE", timedelta(seconds=1))
    port = free_port()
    for name, value in slurm(1, 2, port).items():
        alone.setenv(name, value)
    with pytest.raises(
        UserError, match=rf"rank 1 of 2 did not reach rank 0 at 127.0.0.1:{port} \("
    ):
        read_job(tmp_path / "job.json")
    assert "RANK" not in os.environ


SEES = """
import sys
from accelerate import Accelerator
from wmvla.train.parallel.ranks import as_rank_0_sees
print(as_rank_0_sees(int(sys.argv[1]), Accelerator(cpu=True)))
"""


@pytest.mark.slow
def test_a_process_that_sees_an_older_checkpoint_begins_where_rank_0_does() -> None:
    inherited = {key: value for key, value in os.environ.items() if key not in LAUNCHERS}
    meeting = {
        "WORLD_SIZE": "2",
        "LOCAL_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": free_port(),
    }
    children = [
        subprocess.Popen(
            [sys.executable, "-c", SEES, step],
            env={**inherited, **meeting, "RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank, step in enumerate(("7", "3"))
    ]
    assert [child.communicate(timeout=180)[0].strip() for child in children] == ["7", "7"]
