"""``lerobot-wm-latents``, its ``--check``, ``lerobot-wm-train`` and a suite's training refuse the
same datasets in the same words, write nothing, and go by the names of cameras."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.wmvla.conftest import EPISODES
from tests.wmvla.data import damaged
from wmvla.commands import latents, train
from wmvla.data.frames import DatasetFrames
from wmvla.train.main import main as suites_training
from wmvla.world.encoder import WorldEncoder
from wmvla.world.latents.cache import latents_path, metadata_path
from wmvla.world.latents.stream import stream_latents


@pytest.fixture
def dataset(toy, tmp_path: Path) -> Path:
    return Path(shutil.copytree(toy.dataset, tmp_path / "dataset"))


@pytest.fixture
def refusals(toy, base, world_flags, data_flags, tmp_path: Path, capsys, monkeypatch):
    """The line with which each command refuses a dataset: the latents, their check, LeRobot's
    training of a policy with world memory and of one without, and a suite's training."""
    monkeypatch.setattr(
        "wmvla.train.parallel.preemption.catch_sigterm", lambda: lambda: False
    )  # it would stay with pytest

    def of(dataset: Path) -> list[str]:
        job = toy.scratch_job(tmp_path / "suite", dataset_root=str(dataset))
        job.write(tmp_path / "job.json")
        data = [f"--dataset.repo_id={toy.repo_id}", f"--dataset.root={dataset}"]
        cache = shutil.copytree(toy.cache, tmp_path / "cache", dirs_exist_ok=True)
        metadata_path(latents_path(cache, toy.repo_id, "vjepa", "m4")).unlink()
        output, made = tmp_path / "output", tmp_path / "made"
        encoder = f"--policy.world_vision_model_name={toy.encoder}"
        start = ["--policy.type=smolvla_world", f"--policy.init_from_policy_path={base}"]
        lines = []
        for main, flags in (
            (latents.main, [*data, encoder, f"--policy.cache_dir={made}"]),
            (latents.main, [*data, "--check", f"--policy.cache_dir={cache}"]),
            (train.main, [*start, *world_flags, *data_flags, *data[1:], f"--output_dir={output}"]),
            (
                train.main,
                [f"--policy.path={base}", *data_flags, *data[1:], f"--output_dir={output}"],
            ),
            (suites_training, tmp_path / "job.json"),
        ):
            capsys.readouterr()
            assert main(flags) == 2
            err = capsys.readouterr().err
            assert "Traceback" not in err
            lines.append(err.splitlines()[-1])
        assert not made.exists()
        assert not output.exists()
        assert not (tmp_path / "suite" / "checkpoints").exists()
        return lines

    return of


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (damaged.version_2_1, "convert_dataset_v21_to_v30"),
        (damaged.openpi_names, "the features are image, wrist_image, state, actions"),
        (damaged.nan_action, "action[1] of row 4 is nan"),
    ],
)
def test_every_command_refuses_in_the_same_line(refusals, dataset: Path, spoil, said: str):
    spoil(dataset)
    lines = refusals(dataset)
    assert len(set(lines)) == 1
    assert lines[0].startswith("error: ")
    assert said in lines[0]


@pytest.mark.slow  # every command through every damage; a few of them are in the test above
@pytest.mark.parametrize(
    ("spoil", "said"), damaged.REFUSED, ids=[spoil.__name__ for spoil, _ in damaged.REFUSED]
)
def test_every_command_refuses_every_damage(refusals, dataset: Path, spoil, said: str):
    spoil(dataset)
    lines = refusals(dataset)
    assert len(set(lines)) == 1
    assert re.match(rf"error: .*{said}", lines[0])


def test_an_episode_that_is_not_there_is_said(base, world_flags, data_flags, tmp_path, capsys):
    flags = ["--policy.type=smolvla_world", f"--policy.init_from_policy_path={base}", *world_flags]
    flags += [*data_flags, "--dataset.episodes=[1,55]", f"--output_dir={tmp_path / 'run'}"]
    assert train.main(flags) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "there is no episode 55: toy/noise has 2, 0 to 1" in line


def test_training_that_plays_libero_on_the_way_refuses_another_gripper(
    base, toy, dataset: Path, data_flags, tmp_path, capsys
):
    """The hand closes before it holds anything."""

    def close(actions: list[list[float]]) -> None:
        for row in (0, EPISODES[0]):
            actions[row][6] = 0.9

    damaged.change_column(dataset, "action", close)
    flags = [f"--policy.path={base}", *data_flags, f"--dataset.root={dataset}"]
    flags += [f"--output_dir={tmp_path / 'run'}", "--env.type=libero"]
    assert train.main(flags) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    said = "the gripper, is positive in the first frame of 2 of 2 episodes"
    assert line.startswith(f"error: dataset {toy.repo_id}: action 6, {said}")
    assert not (tmp_path / "run").exists()


def swapped(dataset: Path) -> None:
    first, second = "observation.images.image", "observation.images.image2"
    found = json.loads((dataset / "meta/info.json").read_text())["features"]
    keys = [{first: second, second: first}.get(key, key) for key in found]
    damaged.info(dataset, features={key: found[key] for key in keys})


def test_latents_of_cameras_in_another_order_are_those_of_their_names(toy, dataset, tmp_path):
    swapped(dataset)
    flags = [f"--dataset.repo_id={toy.repo_id}", f"--dataset.root={dataset}"]
    flags += [f"--policy.world_vision_model_name={toy.encoder}", f"--policy.cache_dir={tmp_path}"]
    assert latents.main(flags) == 0
    made, known = (
        latents_path(cache, toy.repo_id, "vjepa", "m4") for cache in (tmp_path, toy.cache)
    )
    assert made.read_bytes() == known.read_bytes()
    assert json.loads(metadata_path(made).read_text())["camera_keys"] == [
        "observation.images.image"
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"camera_keys": ["observation.images.image2"]},
            "made from observation.images.image2, but 'front' is observation.images.image of this",
        ),
        ({"image_turn": 180}, "made from images that were turned by 180 degrees"),
        ({"dataset": {"fingerprint": "0" * 16}}, "made from another dataset"),
    ],
)
def test_training_refuses_latents_of_another_camera_turn_or_dataset(
    toy, base, world_flags, data_flags, tmp_path, capsys, change, said
):
    cache = shutil.copytree(toy.cache, tmp_path / "cache")
    damaged.change_json(
        metadata_path(latents_path(cache, toy.repo_id, "vjepa", "m4")),
        lambda content: content.update(change),
    )
    flags = ["--policy.type=smolvla_world", f"--policy.init_from_policy_path={base}", *world_flags]
    flags += [*data_flags, f"--policy.cache_dir={cache}", f"--output_dir={tmp_path / 'run'}"]
    assert train.main(flags) == 2
    assert said in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "run").exists()


def test_the_check_notices_latents_of_turned_images(toy, tmp_path, capsys):
    class Turned(DatasetFrames):
        def read(self, first: int, last: int) -> list:
            return [images.flip(-2, -1) for images in super().read(first, last)]

    frames = Turned(toy.repo_id, toy.dataset, "front")
    rows = stream_latents(frames, WorldEncoder(str(toy.encoder)), 4, [(0, 33)])
    path = latents_path(tmp_path, toy.repo_id, "vjepa", "m4")
    path.parent.mkdir(parents=True)
    np.save(path, np.concatenate([latents.numpy() for _, latents in rows]).astype(np.float16))
    flags = [f"--dataset.repo_id={toy.repo_id}", f"--dataset.root={toy.dataset}", "--check"]
    flags += [f"--policy.world_vision_model_name={toy.encoder}", f"--policy.cache_dir={tmp_path}"]
    assert latents.main(flags) == 1
    said = capsys.readouterr().out.splitlines()[-1]
    assert "not usable: this encoder from images turned by 180 degrees made it" in said
