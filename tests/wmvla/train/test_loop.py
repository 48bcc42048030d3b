"""Training: the same numbers however it is cut into runs and processes."""

import json
import shutil
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from lerobot.datasets import LeRobotDataset
from lerobot.policies.factory import make_policy, make_pre_post_processors
from safetensors.torch import load_file

from wmvla.data.dataset import InMemoryData, StreamedData, action_is_pad
from wmvla.data.opening import open_dataset
from wmvla.policy.conversion import load_policy
from wmvla.recipe import Training
from wmvla.train.checkpoint import latest_step, pretrained_folder
from wmvla.train.job import TrainingJob
from wmvla.train.loop import learning_rate, train
from wmvla.train.main import main

from ..conftest import EPISODES, MODEL, TRAINING
from .running import SAME, kill, metrics, start


@pytest.fixture(scope="module")
def uninterrupted(arm, tmp_path_factory) -> TrainingJob:
    job = arm(tmp_path_factory.mktemp("E2"))
    train(job)
    return job


def test_every_step_has_a_line(uninterrupted):
    rows = metrics(uninterrupted)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert all(set(row) == set(SAME) for row in rows)
    assert rows[0]["world_gate"] == 0
    assert rows[-1]["world_gate"] != 0


def test_a_variable_of_accelerates_divides_no_gradient(arm, uninterrupted, tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    job = arm(tmp_path)
    train(job)
    assert metrics(job) == metrics(uninterrupted)


def test_a_killed_run_continues_to_the_same_losses_and_weights(arm, tmp_path):
    training = replace(TRAINING, steps=100, save_every=5)
    job, reference = (
        arm(tmp_path / name, training=training) for name in ("killed", "uninterrupted")
    )
    child = start(job, tmp_path / "job.json", 1)
    deadline = time.monotonic() + 300
    while latest_step(Path(job.checkpoints)) < 5 and time.monotonic() < deadline:
        time.sleep(0.002)
    kill(child)
    assert 5 <= latest_step(Path(job.checkpoints)) < 100
    train(job)
    train(reference)
    assert metrics(job) == metrics(reference)
    ends = [
        load_file(pretrained_folder(Path(run.checkpoints), 100) / "model.safetensors")
        for run in (job, reference)
    ]
    assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[1])


def test_two_processes_train_like_one(arm, uninterrupted, tmp_path):
    job = arm(tmp_path)
    child = start(job, tmp_path / "job.json", 2)
    _, errors = child.communicate(timeout=180)
    assert child.returncode == 0, errors
    for ours, theirs in zip(metrics(job), metrics(uninterrupted), strict=True):
        for key, value in theirs.items():
            assert ours[key] == pytest.approx(value, rel=1e-4, abs=1e-5), key


def test_all_arms_start_from_the_same_weights_and_see_the_same_batches(
    toy, base_job, uninterrupted, tmp_path
):
    checkpoint = pretrained_folder(Path(base_job.checkpoints), TRAINING.steps)
    plain = toy.scratch_job(tmp_path / "E0", case="E0-train-s0", scratch=None, base=str(checkpoint))
    zero = toy.scratch_job(
        tmp_path / "E1",
        case="E1",
        scratch=None,
        base=str(checkpoint),
        world={**toy.world, "world_memory_mode_train": "zero"},
    )
    train(plain)
    train(zero)
    first = [metrics(job)[0]["action_loss"] for job in (plain, zero, uninterrupted)]
    assert first[0] == first[1] == first[2]


def test_stock_lerobot_loads_the_checkpoint(uninterrupted, toy):
    from lerobot.configs import PreTrainedConfig

    folder = pretrained_folder(Path(uninterrupted.checkpoints), TRAINING.steps)
    config = PreTrainedConfig.from_pretrained(folder)
    config.pretrained_path = folder
    policy = make_policy(
        config, ds_meta=LeRobotDataset(toy.repo_id, root=toy.dataset, video_backend="pyav").meta
    )
    ours = load_policy(folder)
    assert all(
        torch.equal(value, ours.state_dict()[key]) for key, value in policy.state_dict().items()
    )
    preprocessor, _ = make_pre_post_processors(config, str(folder))
    names = [type(step).__name__ for step in preprocessor.steps]
    assert names[-1] == "WorldLatentsProcessorStep"
    assert names.index("NormalizerProcessorStep") < len(names) - 1


def test_a_finished_run_is_not_run_again(uninterrupted):
    before = Path(uninterrupted.metrics).stat().st_mtime_ns
    train(uninterrupted)
    assert Path(uninterrupted.metrics).stat().st_mtime_ns == before


def test_missing_latents_end_in_one_line_and_exit_2(arm, toy, tmp_path, monkeypatch, capsys):
    """In this process; ``test_endings`` sees the exit code of one of its own."""
    monkeypatch.setattr(
        "wmvla.train.parallel.preemption.catch_sigterm", lambda: lambda: False
    )  # it would stay with pytest
    replace(arm(tmp_path), world={**toy.world, "cache_dir": str(tmp_path / "nowhere")}).write(
        tmp_path / "job.json"
    )
    assert main(tmp_path / "job.json") == 2
    (told,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "World latents are missing" in told


@pytest.mark.parametrize("kind", [InMemoryData, StreamedData])
def test_batches_are_those_of_lerobot(toy, kind):
    data = kind(*open_dataset(toy.repo_id, toy.dataset), MODEL.chunk_size)
    ahead = {"action": [step / 20 for step in range(MODEL.chunk_size)]}
    stock = LeRobotDataset(
        toy.repo_id, root=toy.dataset, video_backend="pyav", delta_timestamps=ahead
    )
    assert data.ends.tolist() == [EPISODES[0], sum(EPISODES)]
    rows = [np.array([0, 17]), np.array([19, 20, 32])]
    for picked, batch in zip(rows, data.batches(rows), strict=True):
        pad = action_is_pad(data.ends, picked, MODEL.chunk_size)
        for place, row in enumerate(picked):
            theirs = stock[int(row)]
            for key in (
                "observation.images.image",
                "observation.images.image2",
                "observation.state",
                "action",
            ):
                assert torch.equal(batch[key][place], theirs[key]), (row, key)
            assert torch.equal(batch["action_is_pad"][place], theirs["action_is_pad"])
            assert torch.equal(pad[place], theirs["action_is_pad"])
            assert batch["task"][place] == theirs["task"]
            assert batch["index"][place] == theirs["index"]


def test_the_learning_rate_warms_up_and_falls_to_its_floor():
    training = Training(
        steps=100,
        batch_size=1,
        learning_rate=2.0,
        warmup_steps=10,
        final_learning_rate_fraction=0.1,
    )
    rates = [learning_rate(training, step) for step in range(101)]
    assert rates[0] == pytest.approx(0.2)
    assert rates[9] == rates[10] == pytest.approx(2.0)
    assert rates[100] == pytest.approx(0.2)
    assert all(a >= b for a, b in pairwise(rates[10:]))


def test_latents_of_another_dataset_are_refused(arm, toy, tmp_path):
    """Also where episodes and rows are alike: the metadata tells the datasets apart."""
    other = tmp_path / "other"
    shutil.copytree(toy.dataset, other)
    info = json.loads((other / "meta" / "info.json").read_text())
    (other / "meta" / "info.json").write_text(json.dumps({**info, "fps": 10}))
    with pytest.raises(ValueError, match="another dataset"):
        train(arm(tmp_path / "run", dataset_root=str(other)))
