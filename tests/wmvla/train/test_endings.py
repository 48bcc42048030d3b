"""How a training ends early: asked to stop, it saves its last step; at a number that is not finite,
it saves nothing of it."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from tests.forked import Forked, run_module
from wmvla.data.dataset import StreamedData
from wmvla.data.opening import open_dataset
from wmvla.data.readers import reader_count
from wmvla.errors import UserError
from wmvla.train.checkpoint import latest_step
from wmvla.train.finite import FiniteSteps, all_finite
from wmvla.train.job import TrainingJob
from wmvla.train.loop import train
from wmvla.train.main import leave
from wmvla.train.parallel.preemption import STOPPED, Stopped
from wmvla.train.parallel.replicated import Replicated

from ..conftest import TRAINING
from .running import kill, metrics, start

LONG = replace(TRAINING, steps=60, save_every=1000)


def stop(job: TrainingJob, folder: Path, processes: int) -> tuple[int, str]:
    """Start the job and send SIGTERM when it has done a few steps; its exit code and what it
    told."""
    child = start(job, folder / "job.json", processes)
    lines, deadline = Path(job.metrics), time.monotonic() + 180
    while time.monotonic() < deadline and child.poll() is None:
        if lines.exists() and lines.read_text().count("\n") >= 3:
            break
        time.sleep(0.002)
    os.kill(child.pid, signal.SIGTERM)
    try:
        _, told = child.communicate(timeout=60)
    finally:
        if child.poll() is None:
            kill(child)
    return child.returncode, told


def assert_stopped_with_a_checkpoint(job: TrainingJob, told: str) -> None:
    done = latest_step(Path(job.checkpoints))
    assert 3 <= done < LONG.steps
    assert metrics(job)[-1]["step"] == done
    sentence = (
        f"stopped: {job.case} was asked to stop and did after step {done} of 60, with a checkpoint:"
        " continue with the"
    )
    assert sentence in told


def test_sigterm_ends_a_training_after_its_step_and_the_same_command_continues_it(arm, tmp_path):
    job, reference = (arm(tmp_path / name, training=LONG) for name in ("stopped", "reference"))
    code, told = stop(job, tmp_path, 1)
    assert code == STOPPED
    assert_stopped_with_a_checkpoint(job, told)
    assert "Traceback" not in told
    train(job)
    train(reference)
    assert metrics(job) == metrics(reference)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "zero2"])
def test_two_processes_stop_after_the_same_step(strategy, arm, tmp_path):
    """Only their launcher is told, and tells them; its own exit code is any but 0."""
    job, reference = (
        arm(tmp_path / name, training=LONG, strategy=strategy) for name in ("stopped", "reference")
    )
    code, told = stop(job, tmp_path, 2)
    assert code != 0
    assert_stopped_with_a_checkpoint(job, told)
    for run in (job, reference):
        child = start(run, tmp_path / "job.json", 2)
        _, errors = child.communicate(timeout=300)
        assert child.returncode == 0, errors[-3000:]
    assert metrics(job) == metrics(reference)


def test_stopping_leaves_a_checkpoint_between_two_regular_ones(arm, tmp_path):
    job = arm(tmp_path, training=replace(TRAINING, steps=4, save_every=3))
    with pytest.raises(Stopped, match="did after step 1 of 4"):
        train(job, asked_to_stop=lambda: True)
    assert latest_step(Path(job.checkpoints)) == 1


def test_a_loss_that_is_not_finite_ends_in_one_line_and_exit_2(arm, tmp_path):
    job = arm(
        tmp_path,
        training=replace(TRAINING, learning_rate=1e30, warmup_steps=0, save_every=1, log_every=4),
    )
    child = start(job, tmp_path / "job.json", 1)
    _, errors = child.communicate(timeout=120)
    assert child.returncode == 2, errors[-2000:]
    (told,) = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert (
        "E2-train-s0: the loss or a gradient is not finite at step 2; that step is not in any checkpoint"
        in told
    )
    assert "Traceback" not in errors
    assert latest_step(Path(job.checkpoints)) == 1
    assert [row["step"] for row in metrics(job)] == [1]


def test_a_gradient_that_is_not_finite_is_never_saved(
    arm: Callable[..., TrainingJob], toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Of the world parts, whose norms this configuration does not even log, at a step with a finite
    loss."""
    steps = []
    gradients = Replicated.gradients

    def broken(self: Replicated) -> dict[str, list[torch.Tensor]]:
        found = gradients(self)
        steps.append(1)
        if len(steps) == 3:
            found["grad_prophet"][0].fill_(torch.inf)
        return found

    monkeypatch.setattr(Replicated, "gradients", broken)
    job = replace(
        arm(tmp_path, training=replace(TRAINING, save_every=2, log_every=2)),
        world={**toy.world, "log_grad_stats": False},
    )
    with pytest.raises(UserError, match="not finite at step 3;"):
        train(job)
    assert len(steps) == 4
    assert latest_step(Path(job.checkpoints)) == 2


def test_readers_of_data_outlive_sigterm(toy):
    """Slurm signals every process of a job; the training needs its readers for the step that it
    finishes."""
    data = StreamedData(*open_dataset(toy.repo_id, toy.dataset), 4)
    before = set(psutil.Process().children())
    batches = data.batches([np.array([row, row + 1]) for row in range(0, 30, 2)])
    begun = [next(batches) for _ in range(reader_count())]  # one of each reader
    readers = [child for child in psutil.Process().children() if child not in before]
    assert readers
    subprocess.run(["kill", *(str(reader.pid) for reader in readers)], check=True)
    assert len(list(batches)) == 15 - len(begun)


def test_the_first_of_several_steps_is_named_and_checked_ones_are_forgotten():
    steps = FiniteSteps("case")
    steps.add(1, all_finite({"loss": torch.tensor(1.0)}))
    steps.check()
    steps.add(2, all_finite({"loss": torch.tensor([1.0, torch.nan])}))
    steps.add(3, all_finite({"loss": torch.tensor(torch.inf)}))
    with pytest.raises(UserError, match="at step 2;"):
        steps.check()


def test_a_training_process_leaves_although_a_thread_never_ends():
    """It stands for one of gloo's that waits for Python's lock."""

    def run() -> None:
        threading.Thread(target=time.sleep, args=(600,)).start()
        print("told", end="")
        leave(75)

    child = Forked(run)
    told, _ = child.communicate(timeout=120)
    assert (child.returncode, told) == (75, "told")


def test_a_training_that_fails_tells_why_before_it_leaves(tmp_path):
    (tmp_path / "job.json").write_text("{}")
    child = Forked(run_module("wmvla.train.main", str(tmp_path / "job.json")))
    _, errors = child.communicate(timeout=120)
    assert child.returncode == 1
    assert errors.rstrip().endswith("KeyError: 'training'")
