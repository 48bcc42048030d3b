"""``lerobot-wm-latents``: makes what the policy reads, checks what came from elsewhere, and says
what is wrong in one line."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.forked import Forked, run_module, run_ranks
from tests.wmvla.train.running import free_port
from tests.wmvla.world.tiny_dinov2 import make_tiny_dinov2
from wmvla.commands.latents import main
from wmvla.data.frames import DatasetFrames
from wmvla.world.encoder import WorldEncoder
from wmvla.world.latents.cache import LatentCache, latents_path, metadata_path
from wmvla.world.tiny_encoder import make_tiny_encoder

from ..conftest import EPISODES, SIZE, WORLD, Toy

WIDTH = WORLD.encoder_hidden
BAD = Path(__file__).parents[2] / "resources" / "bad" / "latents"


@pytest.fixture
def dataset(toy: Toy) -> list[str]:
    return [f"--dataset.repo_id={toy.repo_id}", f"--dataset.root={toy.dataset}"]


@pytest.fixture
def run(capfd):
    """Runs the command: exit code, lines on standard output, lines on standard error."""

    def call(*arguments: object) -> tuple[int, list[str], list[str]]:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        printed = capfd.readouterr()
        return code, printed.out.splitlines(), printed.err.splitlines()

    return call


def refusal(result: tuple[int, list[str], list[str]]) -> str:
    """The one line of a refusal."""
    code, out, err = result
    assert code == 2
    assert out == []
    assert len(err) == 1
    assert err[0].startswith("error: ")
    return err[0]


@pytest.mark.parametrize(
    ("suffix", "camera", "cameras"),
    [("m4", "front", 1), ("m2_wrist", "wrist", 1), ("m4_both", "both", 2)],
)
def test_it_makes_what_the_policy_reads(run, toy, dataset, tmp_path, suffix, camera, cameras):
    code, out, err = run(
        *dataset, f"--policy.cache_dir={tmp_path}", f"--policy.latent_suffix={suffix}",
        f"--policy.world_vision_model_name={toy.encoder}", "--device=cpu",
    )  # fmt: skip
    path = latents_path(tmp_path, toy.repo_id, "vjepa", suffix)
    assert code == 0
    assert out == [f"{path}: {sum(EPISODES)} x {cameras * WIDTH} latents"]
    assert "33/33" in err[-1]
    frames, encoder = (
        DatasetFrames(toy.repo_id, toy.dataset, camera),
        WorldEncoder(str(toy.encoder)),
    )
    LatentCache(
        path, int(suffix[1]), cameras * WIDTH, camera, frames.fingerprint, encoder.fingerprint()
    )
    if suffix == "m4":
        assert path.read_bytes() == latents_path(toy.cache, toy.repo_id, "vjepa", "m4").read_bytes()


def test_dinov2_makes_latents_of_single_frames(run, dataset, toy, tmp_path):
    encoder = make_tiny_dinov2(tmp_path / "dino", WORLD, SIZE)
    flags = [*dataset, f"--policy.cache_dir={tmp_path}", "--policy.world_latents_source=dino"]
    flags += [f"--policy.world_vision_model_name={encoder}"]
    assert "sees single frames, but the window is 4" in refusal(run(*flags))
    code, out, _ = run(*flags, "--policy.latent_suffix=m1")
    path = latents_path(tmp_path, toy.repo_id, "dino", "m1")
    assert (code, out) == (0, [f"{path}: {sum(EPISODES)} x {WIDTH} latents"])
    assert LatentCache(path, 1, WIDTH).metadata["pooling"] == "mean over patch tokens"


def test_two_processes_make_the_same_bytes_as_one(toy, dataset, tmp_path):
    run = run_module(
        "wmvla.commands.latents", *dataset, f"--policy.cache_dir={tmp_path}",
        f"--policy.world_vision_model_name={toy.encoder}", "--batch_size=10",
    )  # fmt: skip
    child = Forked(run_ranks(2, free_port(), run))
    printed, errors = child.communicate()
    assert child.returncode == 0, errors
    path = latents_path(tmp_path, toy.repo_id, "vjepa", "m4")
    assert printed.splitlines() == [f"{path}: {sum(EPISODES)} x {WIDTH} latents"]
    assert sorted(entry.name for entry in path.parent.iterdir()) == sorted(
        [path.name, metadata_path(path).name]
    )
    single = tmp_path / "single"
    assert (
        main(
            [
                *dataset,
                f"--policy.cache_dir={single}",
                f"--policy.world_vision_model_name={toy.encoder}",
                "--batch_size=10",
            ]
        )
        == 0
    )
    assert path.read_bytes() == latents_path(single, toy.repo_id, "vjepa", "m4").read_bytes()


@pytest.fixture
def brought(toy: Toy, tmp_path: Path) -> Path:
    """A file of latents without metadata, as a user brings one."""
    path = latents_path(tmp_path, toy.repo_id, "vjepa", "m4")
    path.parent.mkdir(parents=True)
    shutil.copy(latents_path(toy.cache, toy.repo_id, "vjepa", "m4"), path)
    return path


FIGURES = ["rows", "width", "NaN or infinite", "all-zero rows", "mean cosine of neighbours"]


def test_check_prints_what_is_in_a_file(run, brought, toy, tmp_path):
    code, out, err = run(
        "--check", f"--policy.dataset_repo_id={toy.repo_id}", f"--policy.cache_dir={tmp_path}"
    )
    assert (code, err) == (0, [])
    assert out[0] == str(brought)
    values = {
        name: next(line for line in out if line.startswith(f"  {name} ")).removeprefix(f"  {name} ")
        for name in FIGURES
    }
    stored = np.load(brought).astype(np.float64)
    unit = stored / np.linalg.norm(stored, axis=1, keepdims=True)
    assert values["rows"].strip() == str(sum(EPISODES))
    assert values["width"].strip() == str(WIDTH)
    assert values["NaN or infinite"].strip() == "0 values in 0 rows"
    assert values["all-zero rows"].strip() == "0"
    assert float(values["mean cosine of neighbours"]) == pytest.approx(
        (unit[1:] * unit[:-1]).sum(1).mean(), abs=1e-4
    )
    assert "--dataset.repo_id" in out[-1]
    assert not metadata_path(brought).exists()


def test_check_with_the_dataset_writes_the_metadata_that_the_policy_needs(
    run, brought, toy, dataset, tmp_path
):
    with pytest.raises(ValueError, match="lerobot-wm-latents --check"):
        LatentCache(brought, 4, WIDTH)
    code, out, _ = run(
        "--check", *dataset, f"--policy.cache_dir={tmp_path}", f"--policy.world_latent_dim={WIDTH}"
    )
    assert code == 0
    assert out[-1] == f"usable; its metadata is in {metadata_path(brought).name}"
    cache, made = (
        LatentCache(brought, 4, WIDTH, "front"),
        LatentCache(latents_path(toy.cache, toy.repo_id, "vjepa", "m4"), 4, WIDTH),
    )
    for key in (
        "dataset",
        "camera",
        "camera_keys",
        "window",
        "rows",
        "width",
        "mean",
        "std",
        "episode_ends",
        "neighbour_cosine",
    ):
        assert cache.metadata[key] == made.metadata[key]
    assert cache.metadata["encoder"]["hash"] is None  # nobody told
    past = cache.gather(np.arange(sum(EPISODES)), 4, 8)[0]
    assert np.array_equal(past, made.gather(np.arange(sum(EPISODES)), 4, 8)[0])


def test_check_with_the_encoder_tells_whether_it_made_them(run, brought, toy, dataset, tmp_path):
    given = [
        "--check",
        *dataset,
        f"--policy.cache_dir={tmp_path}",
        "--policy.world_vision_model_name",
    ]
    other = make_tiny_encoder(
        tmp_path / "other", WORLD.__class__(**{**WORLD.__dict__, "encoder_seed": 1}), SIZE
    )
    code, out, _ = run(*given, other)
    assert code == 1
    assert out[-1].startswith("not usable: another encoder, window, camera or dataset made it")
    assert not metadata_path(brought).exists()
    code, out, _ = run(*given, toy.encoder)
    assert code == 0
    assert "  agreement with the encoder  1.0000" in out
    encoder = WorldEncoder(str(toy.encoder)).fingerprint()
    LatentCache(brought, 4, WIDTH, encoder=encoder)
    assert json.loads(metadata_path(brought).read_text())["encoder"]["hash"] == encoder


def test_check_finds_latents_of_another_window(run, brought, toy, dataset, tmp_path):
    """Brought as m2, made with m = 4: what cost the reference 20 to 40 points of success."""
    as_m2 = brought.with_name(brought.name.replace("m4", "m2"))
    brought.rename(as_m2)
    given = ["--check", *dataset, f"--policy.cache_dir={tmp_path}", "--policy.latent_suffix=m2"]
    code, out, _ = run(*given, f"--policy.world_vision_model_name={toy.encoder}")
    assert code == 1
    assert "not usable: another encoder, window, camera or dataset made it" in out[-1]


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("truncated", "is truncated: its header announces 33 x 32"),
        ("not_npy", "is not a .npy file"),
        ("float32", "holds float32 values of shape (33, 32), not fp16 latents"),
        ("three_dimensional", "not fp16 latents of shape (rows, width)"),
        ("nan_rows", "2 rows hold NaN or infinite values, the first is row 7"),
        (
            "unfinished",
            "8 rows between 25 and 32 are all zeros: whoever made the file did not finish it",
        ),
        ("other_window", "made with windows of 8 frames, but the policy asks for 4"),
        ("other_camera", "made from camera 'wrist', but policy.world_camera = 'front'"),
        (
            "other_dataset",
            "made from another dataset (toy/noise, fingerprint 0123456789abcdef) than this one",
        ),
        (
            "other_content",
            "it is not the file that train_world_latents_vjepa_m4.fp16.json describes",
        ),
        ("other_length", "it has 30 rows, but the dataset toy/noise has 33 frames"),
    ],
)
def test_check_answers_no_to_a_bad_file_and_leaves_it_alone(
    run, toy, dataset, tmp_path, case, message
):
    folder = tmp_path / toy.repo_id
    shutil.copytree(BAD / case, folder)
    before = {entry.name: entry.read_bytes() for entry in folder.iterdir()}
    code, out, err = run("--check", *dataset, f"--policy.cache_dir={tmp_path}")
    assert (code, err) == (1, [])
    assert out[-1].startswith("not usable: ")
    assert message in out[-1]
    assert {entry.name: entry.read_bytes() for entry in folder.iterdir()} == before


@pytest.mark.parametrize("case", ["no_metadata", "broken_metadata", "metadata_without_window"])
def test_check_writes_metadata_that_is_missing_or_broken(run, toy, dataset, tmp_path, case):
    shutil.copytree(BAD / case, tmp_path / toy.repo_id)
    assert run("--check", *dataset, f"--policy.cache_dir={tmp_path}")[0] == 0
    LatentCache(latents_path(tmp_path, toy.repo_id, "vjepa", "m4"), 4, 32, "front")


def test_check_keeps_what_the_metadata_knows(run, toy, dataset, tmp_path):
    source = latents_path(toy.cache, toy.repo_id, "vjepa", "m4")
    shutil.copytree(source.parent, tmp_path / toy.repo_id)
    path = latents_path(tmp_path, toy.repo_id, "vjepa", "m4")
    os.utime(path, ns=(1, 1))
    assert run("--check", *dataset, f"--policy.cache_dir={tmp_path}")[0] == 0
    before, after = (json.loads(metadata_path(file).read_text()) for file in (source, path))
    assert after["file"].pop("mtime_ns") == 1
    before["file"].pop("mtime_ns")
    assert after == before


def test_a_file_of_another_width_is_not_usable(run, brought, toy, dataset, tmp_path):
    code, out, _ = run(
        "--check", *dataset, f"--policy.cache_dir={tmp_path}", "--policy.world_latent_dim=1408"
    )
    assert (code, out[-1]) == (
        1,
        "not usable: its latents have width 32, but policy.world_latent_dim = 1408",
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--policy.latent_sufix=m4"],
            "unrecognized arguments: --policy.latent_sufix=m4 (see lerobot-wm-latents --help)",
        ),
        (["--batch_size=many"], "`batch_size`: Couldn't parse 'many' into an int"),
        (["--batch_size=0"], "--batch_size=0 must be at least 1"),
        (["--policy.latent_suffix=latest"], "does not contain the temporal window"),
        (["--policy.world_rollout_temporal_window=2"], "contradicts policy.latent_suffix = 'm4'"),
        (
            ["--policy.world_camera=wrist"],
            "contradicts policy.latent_suffix = 'm4': call it m4_wrist.",
        ),
        (["--policy.latent_suffix=m4_wrist", "--policy.world_camera=front"], "call it m4."),
        (["--policy.world_latents_source=clip"], "--policy.world_vision_model_name is missing"),
        (["--dataset.root=/nowhere"], "/nowhere is not a LeRobotDataset"),
        (["--config_path=/nowhere.yaml"], "/nowhere.yaml"),
        (["--check", "--policy.cache_dir=/nowhere"], "does not exist: there is nothing to check"),
    ],
)
def test_bad_usage_is_refused(run, dataset, tmp_path, flags, message):
    known = {flag.partition("=")[0] for flag in flags}
    given = [
        flag
        for flag in [*dataset, f"--policy.cache_dir={tmp_path}"]
        if flag.partition("=")[0] not in known
    ]
    assert message in refusal(run(*given, *flags))


def test_without_a_dataset_there_is_nothing_to_do(run):
    assert "--dataset.repo_id is missing" in refusal(run())


def test_help_explains_every_flag(run, capfd):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert not ended.value.code
    told = capfd.readouterr().out
    assert "--policy.world_vision_model_name" in told
    assert "frames of one clip; 0: from the suffix" in told
