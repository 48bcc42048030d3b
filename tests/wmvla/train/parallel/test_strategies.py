"""Two CPU processes, by every strategy: the losses of one; killed, they continue exactly; stock
LeRobot loads the end."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from lerobot.configs import PreTrainedConfig
from lerobot.datasets import LeRobotDataset
from lerobot.policies.factory import make_policy
from safetensors.torch import load_file

from tests.wmvla.conftest import SIZE, TRAINING, Toy
from tests.wmvla.train.running import kill, metrics, start
from wmvla.data.opening import open_metadata
from wmvla.sim.libero.assets import prepare_libero
from wmvla.train.checkpoint import latest_step, load_optimizer_state, pretrained_folder
from wmvla.train.job import TrainingJob
from wmvla.train.loop import train
from wmvla.train.parallel.strategy import check_strategy, prepare
from wmvla.train.start import start as start_policy

STEPS = 16
LONG = replace(TRAINING, steps=STEPS, save_every=4)
LOSSES = ("loss_total", "action_loss", "world_loss")
NORMS = ("grad_norm", "grad_world_inject", "grad_prophet")

slow = pytest.mark.slow
EVERY_STRATEGY = [
    *(pytest.param(name, marks=slow) for name in ("ddp", "zero1", "zero2", "fsdp")),
    "zero3",
]


def run(job: TrainingJob, folder: Path, processes: int = 2) -> None:
    child = start(job, folder / "job.json", processes)
    _, errors = child.communicate(timeout=300)
    assert child.returncode == 0, errors[-3000:]


def killed(job: TrainingJob, folder: Path) -> None:
    """Start the job with two processes, and kill -9 them when they have a checkpoint and go on."""
    child = start(job, folder / "job.json", 2)
    deadline = time.monotonic() + 180
    while (
        latest_step(Path(job.checkpoints)) < LONG.save_every
        and time.monotonic() < deadline
        and child.poll() is None
    ):
        time.sleep(0.002)
    kill(child)
    assert LONG.save_every <= latest_step(Path(job.checkpoints)) < STEPS


def assert_same_curve(job: TrainingJob, reference: TrainingJob) -> None:
    """The losses of the reference to 1e-5 at every step, at the same rates and samples."""
    ours, theirs = metrics(job), metrics(reference)
    assert [row["step"] for row in ours] == list(range(1, STEPS + 1))
    for mine, its in zip(ours, theirs, strict=True):
        assert (mine["learning_rate"], mine["samples"]) == (its["learning_rate"], its["samples"])
        assert [mine[key] for key in LOSSES] == pytest.approx(
            [its[key] for key in LOSSES], rel=1e-5, abs=1e-5
        ), mine["step"]
        assert [mine[key] for key in NORMS] == pytest.approx(
            [its[key] for key in NORMS], rel=1e-3, abs=1e-5
        ), mine["step"]


def weights(job: TrainingJob) -> dict[str, torch.Tensor]:
    return load_file(pretrained_folder(Path(job.checkpoints), STEPS) / "model.safetensors")


@pytest.fixture(scope="module")
def one_process(
    arm: Callable[..., TrainingJob], tmp_path_factory: pytest.TempPathFactory
) -> TrainingJob:
    """The reference: the whole batch in one process. Its gradients are clipped, which is where
    shares could go wrong."""
    job = arm(tmp_path_factory.mktemp("one"), training=replace(LONG, gradient_clip_norm=0.5))
    train(job)
    rows = metrics(job)
    assert any(row["grad_norm"] > 0.5 for row in rows)
    assert any(row["grad_prophet"] > 0.5 for row in rows)
    return job


@pytest.mark.parametrize("strategy", EVERY_STRATEGY)
def test_two_processes_train_like_one_and_a_killed_training_continues(
    strategy: str,
    arm: Callable[..., TrainingJob],
    one_process: TrainingJob,
    toy: Toy,
    tmp_path: Path,
):
    training = one_process.training
    uninterrupted, resumed, other = (
        arm(tmp_path / name, training=training, strategy=strategy)
        for name in ("uninterrupted", "resumed", "other")
    )
    run(uninterrupted, tmp_path)
    assert_same_curve(uninterrupted, one_process)

    killed(resumed, tmp_path)
    shutil.copytree(tmp_path / "resumed", tmp_path / "other")
    run(resumed, tmp_path)
    assert metrics(resumed) == metrics(uninterrupted)
    ours, theirs = weights(resumed), weights(uninterrupted)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)

    train(replace(other, strategy="ddp"))  # what two processes began, one continues
    assert_same_curve(other, one_process)

    one = weights(one_process)
    assert ours.keys() == one.keys()
    assert all(torch.allclose(ours[key], one[key], atol=1e-3) for key in one)
    folder = pretrained_folder(Path(resumed.checkpoints), STEPS)
    config = PreTrainedConfig.from_pretrained(folder)
    config.pretrained_path = folder
    stock = make_policy(
        config, ds_meta=LeRobotDataset(toy.repo_id, root=toy.dataset, video_backend="pyav").meta
    )
    state = stock.state_dict()
    assert all(torch.equal(state[key], value) for key, value in ours.items())


def test_deepspeed_clips_nothing_by_itself(arm: Callable[..., TrainingJob], tmp_path: Path):
    """Left alone it scales all gradients to the common norm 1, which AdamW hides where every step
    is scaled alike."""
    training = replace(LONG, steps=4, gradient_clip_norm=1000.0)
    one, two = (arm(tmp_path / name, training=training) for name in ("one", "two"))
    train(one)
    assert max(row["grad_norm"] for row in metrics(one)) > 1.0
    run(replace(two, strategy="zero2"), tmp_path)
    for mine, its in zip(metrics(two), metrics(one), strict=True):
        assert [mine[key] for key in LOSSES] == pytest.approx(
            [its[key] for key in LOSSES], rel=1e-5, abs=1e-5
        ), mine["step"]


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), [("zero3", "fsdp"), ("fsdp", "zero2")])
def test_a_strategy_continues_what_another_began(first, second, arm, one_process, tmp_path):
    job = arm(tmp_path / "run", training=one_process.training, strategy=first)
    killed(job, tmp_path)
    run(replace(job, strategy=second), tmp_path)
    assert_same_curve(job, one_process)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "zero1", "zero2", "zero3", "fsdp"])
def test_batches_are_worked_off_in_parts_by_two_processes(strategy, arm, one_process, tmp_path):
    job = arm(
        tmp_path / "run", training=one_process.training, strategy=strategy, accumulation_steps=2
    )
    run(job, tmp_path)
    assert_same_curve(job, one_process)


def test_batches_are_worked_off_in_parts(arm, one_process, tmp_path):
    job = arm(tmp_path / "run", training=one_process.training, accumulation_steps=4)
    train(job)
    assert_same_curve(job, one_process)
    saved = load_optimizer_state(Path(job.checkpoints), STEPS)["state"]
    assert {state["step"].item() for state in saved.values()} == {STEPS}


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "zero1", "zero2", "zero3", "fsdp"])
def test_bf16_is_autocast_under_every_strategy(strategy, arm, tmp_path):
    """Weights stay fp32; the first losses, from equal weights, are equal to the order of sums in
    bf16."""
    training = replace(TRAINING, steps=2)
    alone, shared = (
        arm(tmp_path / name, training=training, precision="bf16") for name in ("alone", "shared")
    )
    run(alone, tmp_path, processes=1)  # not here: accelerate remembers one precision for a process
    run(replace(shared, strategy=strategy), tmp_path)
    ours, theirs = ([row["loss_total"] for row in metrics(job)] for job in (shared, alone))
    assert ours == pytest.approx(theirs, rel=2e-3)
    saved = load_file(pretrained_folder(Path(shared.checkpoints), 2) / "model.safetensors")
    assert {tensor.dtype for tensor in saved.values()} == {torch.float32}


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "zero1", "zero2", "zero3", "fsdp"])
def test_stock_lerobot_eval_plays_a_checkpoint_of_every_strategy(strategy, arm, toy, tmp_path):
    job = arm(tmp_path / "run", training=replace(TRAINING, steps=2), strategy=strategy)
    run(job, tmp_path)
    prepare_libero()
    command = [
        str(Path(sys.executable).parent / "lerobot-eval"), f"--policy.path={pretrained_folder(Path(job.checkpoints), 2)}",
        f"--output_dir={tmp_path / 'out'}", "--env.type=libero", "--env.task=libero_object", "--env.task_ids=[7]",
        "--env.episode_length=3", f"--env.observation_height={SIZE}", f"--env.observation_width={SIZE}",
        "--eval.n_episodes=1", "--eval.batch_size=1", "--eval.use_async_envs=false",
    ]  # fmt: skip
    offline = {**os.environ, "HF_HUB_OFFLINE": "1"}
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, env=offline
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert (
        json.loads((tmp_path / "out" / "eval_info.json").read_text())["overall"]["n_episodes"] == 1
    )


@pytest.mark.parametrize(
    ("changes", "processes", "message"),
    [
        (
            {"strategy": "zero4"},
            2,
            r"E2-train-s0: strategy 'zero4' is unknown: choose ddp, zero1, zero2, zero3, fsdp\.",
        ),
        (
            {"strategy": "zero2"},
            1,
            r"strategy 'zero2' splits a policy over several processes, but there is only one: use 'ddp'\.",
        ),
        ({}, 3, r"batch_size 4 cannot be split evenly over 3 processes with accumulation_steps 1"),
        (
            {"accumulation_steps": 3},
            1,
            r"batch_size 4 cannot be split evenly over 1 processes with accumulation_steps 3",
        ),
        ({"accumulation_steps": 0}, 1, r"accumulation_steps 0"),
    ],
)
def test_what_cannot_be_shared_is_refused_in_one_line(changes, processes, message, arm, tmp_path):
    with pytest.raises(ValueError, match=message):
        check_strategy(arm(tmp_path, **changes), processes)


def test_weights_of_several_types_are_refused_in_one_line(arm, toy, tmp_path):
    job = arm(tmp_path, strategy="fsdp")
    policy, _ = start_policy(job, open_metadata(toy.dataset, toy.repo_id), 0, "cpu")
    policy.model.state_proj.to(torch.bfloat16)
    with pytest.raises(
        ValueError,
        match=r"one type, but the policy has torch.bfloat16 and torch.float32: use 'ddp'",
    ):
        prepare(job, policy, Accelerator(cpu=True))
