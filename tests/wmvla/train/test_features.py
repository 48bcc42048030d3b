"""Cached vision features: the losses of a training that encodes its images, never a stale file,
checkpoints as before."""

import fcntl
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from lerobot.configs import FeatureType, NormalizationMode, PolicyFeature, PreTrainedConfig
from lerobot.datasets import LeRobotDataset
from lerobot.policies.factory import make_policy
from lerobot.processor import NormalizerProcessorStep
from safetensors.torch import load_file

from wmvla.data.dataset import open_data
from wmvla.data.opening import open_metadata
from wmvla.errors import UserError
from wmvla.policy.conversion import load_policy, load_with_processors
from wmvla.policy.frozen_vision import encode_images, is_vision_frozen, take_features
from wmvla.sim.libero.assets import prepare_libero
from wmvla.train import features
from wmvla.train.checkpoint import latest_step, pretrained_folder
from wmvla.train.feature_file import FeatureFile, describe
from wmvla.train.features import FeatureData, cached_cameras, train_on_features
from wmvla.train.job import TrainingJob
from wmvla.train.life import Life
from wmvla.train.loop import train
from wmvla.train.parallel.preemption import Stopped
from wmvla.train.start import tiny_policy_fields
from wmvla.world.latents import rows_writer
from wmvla.world.latents.partial import partial_path, record_paths

from ..conftest import ENVIRONMENT, MODEL, SIZE, TRAINING, Toy
from .running import kill, metrics, start

CAMERA = "observation.images.image"
STEPS = 20
LONG = replace(TRAINING, image_shift=0, steps=STEPS, save_every=5)
TOLERANCE = {"rel": 1e-6, "abs": 1e-6}
pytestmark = pytest.mark.filterwarnings(
    "ignore:This process .* is multi-threaded:DeprecationWarning"
)
Arm = Callable[..., TrainingJob]


@pytest.fixture(scope="module")
def frozen(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose vision tower is frozen, like the published one."""
    fields = {
        **tiny_policy_fields(MODEL, ENVIRONMENT, 2, toy.vlm), "freeze_vision_encoder": True, "train_expert_only": True,
    }  # fmt: skip
    folder = tmp_path_factory.mktemp("frozen")
    return train(toy.scratch_job(folder, scratch=fields, training=replace(LONG, steps=1)))


@pytest.fixture(scope="module")
def frozen_arm(toy: Toy, frozen: Path) -> Arm:
    """Makes the job of an arm in a folder."""

    def make(folder: Path, arm: str = "E2", **changes: object) -> TrainingJob:
        how = {"training": LONG, "world": toy.world if arm == "E2" else None, **changes}
        return toy.scratch_job(
            folder, case=f"{arm}-train-s0", scratch=None, base=str(frozen), **how
        )

    return make


@pytest.fixture(scope="module")
def cache(frozen_arm: Arm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Finished features, made by a training of the plain arm."""
    folder = tmp_path_factory.mktemp("cache")
    train(
        frozen_arm(folder / "run", "E0", vision_cache=str(folder), training=replace(LONG, steps=1))
    )
    return folder


@pytest.fixture(scope="module")
def encoding(frozen_arm: Arm, tmp_path_factory: pytest.TempPathFactory) -> TrainingJob:
    """The reference: E2, whose every step encodes its images."""
    job = frozen_arm(tmp_path_factory.mktemp("encoding"))
    train(job)
    return job


def files_of(cache: Path, toy: Toy) -> list[Path]:
    return sorted((cache / toy.repo_id).glob("*.npy"))


def describe_for(job: TrainingJob, toy: Toy, folder: Path, camera: str = CAMERA) -> FeatureFile:
    policy, _ = load_with_processors(Path(job.base), "cpu")
    return describe(folder, camera, camera, policy, "fp32", open_metadata(toy.dataset, toy.repo_id))


def losses(job: TrainingJob) -> list[list[float]]:
    return [
        [row[key] for key in ("loss_total", "action_loss", "grad_norm")] for row in metrics(job)
    ]


@pytest.mark.parametrize("arm", ["E0", "E2"])
def test_losses_gradients_and_weights_are_those_of_images_to_the_bit_where_batches_are_alike(
    arm: str, toy: Toy, frozen_arm: Arm, tmp_path: Path
):
    """Of one batch, encoded as a whole."""
    policy, (preprocessor, _) = features_start(frozen_arm(tmp_path, arm), toy)
    raw = next(
        iter(
            open_data(toy.dataset, toy.repo_id, MODEL.chunk_size).batches(
                [np.array([0, 20, 32, 7])]
            )
        )
    )
    cameras = [CAMERA, f"{CAMERA}2"]
    encoded = {camera: encode_images(policy, camera, raw[camera], "fp32") for camera in cameras}
    batch, noise = preprocessor(raw), torch.ones(4, MODEL.chunk_size, policy.config.max_action_dim)
    found = []
    for turned in (False, True):
        if turned:
            take_features(policy)
            batch |= encoded
        loss, _ = policy.forward(batch, noise, torch.full((4,), 0.5))
        policy.zero_grad()
        loss.backward()
        found.append(
            (loss.detach(), [p.grad.clone() for p in policy.parameters() if p.grad is not None])
        )
    assert found[0][0] == found[1][0]
    assert len(found[0][1]) == len(found[1][1]) > 0
    assert all(
        torch.equal(ours, theirs) for ours, theirs in zip(found[0][1], found[1][1], strict=True)
    )


def features_start(job: TrainingJob, toy: Toy):
    from wmvla.train.start import start as start_policy

    policy, processors = start_policy(job, open_metadata(toy.dataset, toy.repo_id), 0, "cpu")
    return policy.train(), processors


def test_a_missing_camera_is_filled_without_a_trace(toy: Toy, frozen_arm: Arm, tmp_path: Path):
    policy, (preprocessor, _) = features_start(frozen_arm(tmp_path, "E0"), toy)
    third = {"observation.images.none": PolicyFeature(FeatureType.VISUAL, (3, SIZE, SIZE))}
    policy.config.input_features = {**policy.config.input_features, **third}
    policy.config.empty_cameras = 1
    raw = next(
        iter(
            open_data(toy.dataset, toy.repo_id, MODEL.chunk_size).batches(
                [np.array([0, 20, 32, 7])]
            )
        )
    )
    encoded = {
        camera: encode_images(policy, camera, raw[camera], "fp32")
        for camera in (CAMERA, f"{CAMERA}2")
    }
    batch, noise = preprocessor(raw), torch.ones(4, MODEL.chunk_size, policy.config.max_action_dim)
    of_images, _ = policy.forward(batch, noise, torch.full((4,), 0.5))
    take_features(policy)
    of_features, _ = policy.forward(batch | encoded, noise, torch.full((4,), 0.5))
    assert of_images == of_features


def test_twenty_steps_have_the_losses_of_images(
    toy: Toy, frozen_arm: Arm, cache: Path, encoding: TrainingJob, tmp_path: Path
):
    """E2 from features that E0 made; it encodes nothing itself."""
    made = {path: path.stat().st_mtime_ns for path in files_of(cache, toy)}
    assert len(made) == 2
    job = frozen_arm(tmp_path, vision_cache=str(cache))
    end = train(job)
    assert {path: path.stat().st_mtime_ns for path in files_of(cache, toy)} == made
    assert len(losses(job)) == STEPS
    for ours, theirs in zip(losses(job), losses(encoding), strict=True):
        assert ours == pytest.approx(theirs, **TOLERANCE)

    config = PreTrainedConfig.from_pretrained(end)
    config.pretrained_path = end
    stock = make_policy(
        config, ds_meta=LeRobotDataset(toy.repo_id, root=toy.dataset, video_backend="pyav").meta
    )
    ours, base = stock.state_dict(), load_file(Path(job.base) / "model.safetensors")
    plain = load_file(pretrained_folder(Path(encoding.checkpoints), STEPS) / "model.safetensors")
    assert load_file(end / "model.safetensors").keys() == plain.keys()
    seeing = [key for key in base if "vision_model" in key or "connector" in key]
    assert seeing
    assert all(torch.equal(ours[key], base[key]) for key in seeing)
    image = torch.rand(1, 3, SIZE, SIZE)
    assert torch.equal(
        encode_images(stock, CAMERA, image, "fp32"),
        encode_images(load_policy(Path(job.base)), CAMERA, image, "fp32"),
    )


def test_two_processes_make_features_and_train_like_one_that_encodes(
    toy: Toy, frozen_arm: Arm, cache: Path, encoding: TrainingJob, tmp_path: Path
):
    job = frozen_arm(tmp_path / "run", vision_cache=str(tmp_path / "cache"))
    child = start(job, tmp_path / "job.json", 2)
    _, errors = child.communicate(timeout=240)
    assert child.returncode == 0, errors[-3000:]
    for ours, theirs in zip(losses(job), losses(encoding), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-5)
    ours, theirs = files_of(tmp_path / "cache", toy), files_of(cache, toy)
    assert [path.name for path in ours] == [path.name for path in theirs]
    assert all(
        mine.read_bytes() == its.read_bytes() for mine, its in zip(ours, theirs, strict=True)
    )
    assert not list((tmp_path / "cache" / toy.repo_id).glob(".*"))


def test_killed_while_features_are_made_it_continues_to_the_same_bytes(
    toy: Toy, frozen_arm: Arm, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(features, "BATCH_ROWS", 8)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    short = replace(LONG, steps=1)
    train(frozen_arm(tmp_path / "a", "E0", vision_cache=str(whole), training=short))
    job = frozen_arm(tmp_path / "b", "E0", vision_cache=str(killed), training=short)
    left = [2]

    def encode(*arguments: object) -> torch.Tensor:
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return encode_images(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(rows_writer, "SAVE_EVERY", 0.0)
        patched.setattr(features, "encode_images", encode)
        process = multiprocessing.get_context("fork").Process(target=train, args=(job,))
        process.start()
        process.join(120)
        assert process.exitcode == -signal.SIGKILL
    (record,) = (killed / toy.repo_id).glob(".*progress*")
    assert json.loads(record.read_text())["finished"] == [[0, 16]]
    assert files_of(killed, toy) == []
    train(job)
    for ours, theirs in zip(files_of(killed, toy), files_of(whole, toy), strict=True):
        assert ours.name == theirs.name
        assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize("change", ["weights", "dataset", "resize"])
def test_features_of_anything_else_are_never_taken(
    change: str, toy: Toy, frozen_arm: Arm, cache: Path, tmp_path: Path
):
    """Neither under their own name nor under the name of what is asked for."""
    job = frozen_arm(tmp_path, "E0")
    policy, _ = load_with_processors(Path(job.base), "cpu")
    metadata = open_metadata(toy.dataset, toy.repo_id)
    folder = cache / toy.repo_id
    before = describe(folder, CAMERA, CAMERA, policy, "fp32", metadata)
    assert before.path in files_of(cache, toy)
    if change == "weights":
        with torch.no_grad():
            policy.model.vlm_with_expert.vlm.model.connector.modality_projection.proj.weight[
                0, 0
            ] += 1e-3
    if change == "dataset":
        metadata.info.fps = 10
    if change == "resize":
        policy.config.resize_imgs_with_padding = (SIZE, SIZE // 2)
        policy.prepare_images = lambda batch: (
            [batch[CAMERA]],
            [],
        )  # the toy tower has one size, so it cannot be shown another
    after = describe(tmp_path, CAMERA, CAMERA, policy, "fp32", metadata)
    assert after.path.name != before.path.name
    after.path.write_bytes(before.path.read_bytes())
    after.metadata.write_bytes(before.metadata.read_bytes())
    with pytest.raises(UserError, match="is not the file that its name says: delete it and"):
        after.open()


def test_features_are_those_of_the_rows(toy: Toy, frozen_arm: Arm, cache: Path, tmp_path: Path):
    job = frozen_arm(tmp_path, "E0")
    files = [
        describe_for(job, toy, cache / toy.repo_id, camera) for camera in (CAMERA, f"{CAMERA}2")
    ]
    policy = load_policy(Path(job.base))
    picked = np.array([32, 0, 21, 0])
    (images,) = open_data(toy.dataset, toy.repo_id, MODEL.chunk_size).batches([picked])
    (batch,) = FeatureData(job, MODEL.chunk_size, files).batches([picked])
    for camera in (CAMERA, f"{CAMERA}2"):
        torch.testing.assert_close(
            batch[camera],
            encode_images(policy, camera, images[camera], "fp32"),
            rtol=1e-5,
            atol=1e-6,
        )
    assert all(
        torch.equal(batch[key], images[key])
        for key in ("action", "observation.state", "index", "action_is_pad")
    )
    assert batch["task"] == images["task"]


def test_a_training_waits_for_another_that_makes_the_features(
    toy: Toy,
    frozen_arm: Arm,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    job = frozen_arm(
        tmp_path / "run", "E0", vision_cache=str(tmp_path), training=replace(LONG, steps=1)
    )
    file = describe_for(job, toy, tmp_path / toy.repo_id)
    file.path.parent.mkdir(parents=True)
    with partial_path(file.path).open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Stopped, match="while it waited for vision features"):
            train(job, asked_to_stop=lambda: True)
        looks: list[float] = []

        def sleep(seconds: float) -> None:
            looks.append(seconds)
            if len(looks) == 3:
                fcntl.flock(held, fcntl.LOCK_UN)

        monkeypatch.setattr(features, "time", SimpleNamespace(sleep=sleep))
        train(job)
    assert len(looks) == 3
    assert capsys.readouterr().err.count("E0-train-s0 waits: ") == 2  # once a training
    assert file.path in files_of(tmp_path, toy)
    assert record_paths(file.path) == []


def test_what_changes_from_step_to_step_is_refused(
    toy: Toy, frozen_arm: Arm, base_job: TrainingJob, tmp_path: Path
):
    job = frozen_arm(tmp_path, "E0", vision_cache=str(tmp_path))
    with pytest.raises(
        UserError,
        match=(
            r"cannot be cached, because its images are shifted at random .*: set cache_vision = false"
        ),
    ):
        train(replace(job, training=TRAINING))
    trained = replace(job, base=str(pretrained_folder(Path(base_job.checkpoints), TRAINING.steps)))
    with pytest.raises(
        UserError,
        match=r"because its vision tower or connector is trained \(policy.train_expert_only is off\)",
    ):
        train(trained)
    policy, (preprocessor, _) = load_with_processors(Path(job.base), "cpu")
    assert is_vision_frozen(policy)
    assert cached_cameras(job, policy, preprocessor, [CAMERA]) == {CAMERA: CAMERA}
    preprocessor.steps[0].rename_map = {CAMERA: "observation.images.other"}
    assert cached_cameras(job, policy, preprocessor, [CAMERA]) == {
        CAMERA: "observation.images.other"
    }
    (normaliser,) = (
        step for step in preprocessor.steps if isinstance(step, NormalizerProcessorStep)
    )
    normaliser.norm_map = {**normaliser.norm_map, FeatureType.VISUAL: NormalizationMode.MEAN_STD}
    with pytest.raises(UserError, match="because its processors normalise images"):
        cached_cameras(job, policy, preprocessor, [CAMERA])


def test_features_that_are_not_finite_are_not_written(toy: Toy, frozen_arm: Arm, tmp_path: Path):
    job = frozen_arm(tmp_path, "E0", vision_cache=str(tmp_path))
    policy, (preprocessor, _) = load_with_processors(Path(job.base), "cpu")
    with torch.no_grad():
        policy.model.vlm_with_expert.vlm.model.connector.modality_projection.proj.weight.fill_(
            torch.nan
        )
    metadata, accelerator = open_metadata(toy.dataset, toy.repo_id), Accelerator(cpu=True)
    with pytest.raises(UserError, match="features that are not finite"):
        train_on_features(
            job, policy, preprocessor, metadata, accelerator, lambda: False, bool, Life()
        )
    assert files_of(tmp_path, toy) == []


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "zero3"])
def test_a_killed_training_on_features_continues_exactly_and_stock_lerobot_plays_its_end(
    strategy: str, toy: Toy, frozen_arm: Arm, cache: Path, tmp_path: Path
):
    whole, killed = (
        frozen_arm(tmp_path / name, vision_cache=str(cache), strategy=strategy)
        for name in ("whole", "killed")
    )
    encoding = frozen_arm(tmp_path / "encoding", strategy=strategy)
    for job in (encoding, whole, killed):
        child = start(job, tmp_path / "job.json", 2)
        deadline = time.monotonic() + 180
        while (
            job is killed and latest_step(Path(job.checkpoints)) < 5 and time.monotonic() < deadline
        ):
            time.sleep(0.002)
        if job is killed:
            kill(child)
            assert 5 <= latest_step(Path(job.checkpoints)) < STEPS
            child = start(job, tmp_path / "job.json", 2)
        _, errors = child.communicate(timeout=300)
        assert child.returncode == 0, errors[-3000:]
    assert metrics(killed) == metrics(whole)
    for ours, theirs in zip(losses(whole), losses(encoding), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-5)
    if strategy != "zero3":
        return
    prepare_libero()
    command = [
        str(Path(sys.executable).parent / "lerobot-eval"),
        f"--policy.path={pretrained_folder(Path(killed.checkpoints), STEPS)}", f"--output_dir={tmp_path / 'out'}",
        "--env.type=libero", "--env.task=libero_object", "--env.task_ids=[7]", "--env.episode_length=3",
        f"--env.observation_height={SIZE}", f"--env.observation_width={SIZE}", "--eval.n_episodes=1",
        "--eval.batch_size=1", "--eval.use_async_envs=false",
    ]  # fmt: skip
    offline = {**os.environ, "HF_HUB_OFFLINE": "1"}
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, env=offline
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert (
        json.loads((tmp_path / "out" / "eval_info.json").read_text())["overall"]["n_episodes"] == 1
    )


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["E0", "E2"])
def test_under_bf16_losses_are_those_of_images_within_its_noise(
    arm: str, toy: Toy, frozen_arm: Arm, tmp_path: Path
):
    """In processes of their own: accelerate remembers one precision for a process."""
    jobs = [frozen_arm(tmp_path / "images", arm, precision="bf16")]
    jobs += [
        frozen_arm(
            tmp_path / "features", arm, precision="bf16", vision_cache=str(tmp_path / "cache")
        )
    ]
    for job in jobs:
        child = start(job, tmp_path / "job.json", 1)
        _, errors = child.communicate(timeout=240)
        assert child.returncode == 0, errors[-3000:]
    metadata = [
        json.loads(path.with_suffix(".json").read_text())
        for path in files_of(tmp_path / "cache", toy)
    ]
    assert [content["type"] for content in metadata] == ["bfloat16", "bfloat16"]
    ours, theirs = (np.array(losses(job))[:, 0] for job in jobs)
    assert np.abs(ours / theirs - 1).max() < 2e-3
