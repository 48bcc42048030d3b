"""Reading the latent cache: clamped at episode borders, safe in worker processes, bad files refused
in one line."""

import json
import multiprocessing
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from tests.wmvla.conftest import EPISODES, MODEL, WORLD, Toy
from wmvla.data.dataset import open_data
from wmvla.policy.configuration_smolvla_world import SmolVLAWorldConfig
from wmvla.policy.processor_smolvla_world import FUTURE, HISTORY, VALID, latents_step
from wmvla.world.latents.cache import (
    LatentCache,
    clip_rows,
    episode_bounds,
    latents_path,
    make_metadata,
    metadata_path,
)
from wmvla.world.latents.file import examine

from .gathered import Gathered

WIDTH = WORLD.encoder_hidden
BAD = Path(__file__).parents[3] / "resources" / "bad" / "latents"
NAME = "train_world_latents_vjepa_m4.fp16.npy"


@pytest.fixture
def path(toy: Toy):
    return latents_path(toy.cache, toy.repo_id, "vjepa", "m4")


@pytest.fixture
def copied(path, tmp_path):
    """A copy of the cache that a test may damage."""
    copy = tmp_path / path.name
    shutil.copy(path, copy)
    shutil.copy(metadata_path(path), metadata_path(copy))
    return copy


def store(folder: Path, latents: np.ndarray, ends: np.ndarray) -> Path:
    """Latents with their metadata, of no dataset in particular."""
    file = folder / NAME
    np.save(file, latents)
    description = {"dataset": {}, "encoder": {}, "camera": "front", "window": 4}
    metadata_path(file).write_text(
        json.dumps(make_metadata(description, ends, examine(file, ends), file))
    )
    return file


@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    history=st.integers(1, 5),
    horizon=st.integers(1, 6),
    data=st.data(),
)
def test_histories_and_futures_are_those_of_a_slow_reader(
    tmp_path_factory, lengths, history, horizon, data
):
    ends = np.cumsum(lengths)
    count = int(ends[-1])
    stored = np.random.default_rng(0).standard_normal((count, 3)).astype(np.float16)
    cache = LatentCache(store(tmp_path_factory.mktemp("cache"), stored, ends), window=4, width=3)
    index = np.array(data.draw(st.lists(st.integers(0, count - 1), max_size=8)), dtype=np.int64)
    episodes = np.array(
        [next(n for n, end in enumerate(ends) if row < end) for row in index], dtype=np.int64
    )
    past, future, valid = cache.gather(index, history, horizon, episodes)
    assert past.dtype == future.dtype == np.float32
    assert past.shape == (len(index), history, 3)
    assert future.shape == (len(index), horizon, 3)
    for sample, (row, episode) in enumerate(zip(index, episodes, strict=True)):
        first, last = int(ends[episode]) - lengths[episode], int(ends[episode]) - 1
        for step in range(history):
            assert np.array_equal(
                past[sample, step], stored[max(first, row - (history - 1) + step)]
            )
        for step in range(horizon):
            assert np.array_equal(future[sample, step], stored[min(last, row + 1 + step)])
            assert valid[sample, step] == (row + 1 + step <= last)


@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    window=st.integers(1, 5),
    data=st.data(),
)
def test_clips_are_consecutive_and_never_cross_an_episode(lengths, window, data):
    ends = np.cumsum(lengths)
    row = data.draw(st.integers(0, int(ends[-1]) - 1))
    first, last = episode_bounds(ends, np.array([row]))
    episode = next(i for i, end in enumerate(ends) if row < end)
    assert first[0] == ends[episode] - lengths[episode]
    assert last[0] == ends[episode] - 1
    clip = clip_rows(np.array([row]), first, window)[0]
    assert clip[-1] == row
    assert all(first[0] <= frame <= last[0] for frame in clip)
    assert set(np.diff(clip)) <= {0, 1}


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize(("method", "workers"), [("fork", 2), ("spawn", 1)])
def test_workers_open_the_file_for_themselves(path, method, workers):
    cache = LatentCache(path, window=4, width=WIDTH)
    here = cache.gather(np.arange(sum(EPISODES)), 4, 8)[
        0
    ]  # the parent's map is open when the workers start
    loader = DataLoader(
        Gathered(cache),
        8,
        num_workers=workers,
        multiprocessing_context=multiprocessing.get_context(method),
    )
    batches = list(loader)
    assert np.array_equal(torch.cat([batch for batch, _ in batches]).numpy(), here)
    assert os.getpid() not in torch.cat([process for _, process in batches])


def test_pickling_does_not_copy_the_latents(tmp_path):
    latents = np.random.default_rng(0).standard_normal((5000, 8)).astype(np.float16)
    cache = LatentCache(store(tmp_path, latents, np.array([5000])), window=4, width=8)
    cache.gather(np.arange(10), 4, 8)
    pickled = pickle.dumps(cache)
    assert len(pickled) < 3000
    assert np.array_equal(pickle.loads(pickled).latents, latents)


def config_of(toy: Toy, **changes: object) -> SmolVLAWorldConfig:
    return SmolVLAWorldConfig(**{**toy.world, "load_vlm_weights": False, **changes}, device="cpu")


def test_the_processor_step_adds_the_latents_of_a_batch(toy, path):
    step = pickle.loads(pickle.dumps(latents_step(config_of(toy))))
    batch = next(
        open_data(toy.dataset, toy.repo_id, MODEL.chunk_size).batches([np.array([0, 19, 32])])
    )
    keys = ("index", "episode_index")
    added = step({"complementary_data": {key: batch[key] for key in keys}})["complementary_data"]
    history, future, valid = LatentCache(path, 4, WIDTH).gather(np.array([0, 19, 32]), 4, 8)
    assert np.array_equal(added[HISTORY].numpy(), history)
    assert np.array_equal(added[FUTURE].numpy(), future)
    assert np.array_equal(added[VALID].numpy(), valid)
    assert len(pickle.dumps(step)) < 5000
    rebuilt = type(step)(**step.get_config())
    assert rebuilt.get_config() == step.get_config()


def test_a_batch_of_a_rollout_passes_unchanged(toy, tmp_path):
    step = latents_step(config_of(toy, cache_dir=str(tmp_path)))
    transition = {"complementary_data": {"task": ["pick"]}}
    assert step(transition) == transition


def test_a_first_training_batch_without_latents_fails(toy, tmp_path):
    step = latents_step(config_of(toy, cache_dir=str(tmp_path)))
    with pytest.raises(
        ValueError, match=r"World latents are missing: .* Make them with lerobot-wm-latents"
    ):
        step({"complementary_data": {"index": torch.tensor([0])}})


def test_the_step_asks_for_the_policys_camera(toy, path, copied):
    step = latents_step(config_of(toy, world_camera="wrist"))
    with pytest.raises(
        ValueError, match=r"made from camera 'front', but policy.world_camera = 'wrist'"
    ):
        step({"complementary_data": {"index": torch.tensor([0])}})


def refused(path, window=4, width=WIDTH, **asked):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 the message is checked by the caller
        LatentCache(path, window, width, **asked)
    assert "\n" not in str(caught.value)
    assert str(path.parent) in str(caught.value)
    return str(caught.value)


def test_a_missing_cache_is_refused(tmp_path):
    assert "World latents are missing" in refused(tmp_path / NAME)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (
            "truncated",
            "is truncated: its header announces 33 x 32 latents, 2240 bytes, and it has 1540",
        ),
        ("not_npy", "is not a .npy file"),
        ("float32", "holds float32 values of shape (33, 32), not fp16 latents"),
        ("three_dimensional", "holds float16 values of shape (33, 4, 8), not fp16 latents"),
        (
            "no_metadata",
            "has no metadata: run `lerobot-wm-latents --check` with the dataset, which writes it",
        ),
        (
            "unfinished",
            "has no metadata: run `lerobot-wm-latents --check` with the dataset, which writes it",
        ),
        ("broken_metadata", "metadata cannot be read (Expecting property name"),
        ("metadata_without_window", "metadata lacks 'window': run `lerobot-wm-latents --check`"),
        ("short_statistics", "statistics are not of width 32"),
        (
            "other_window",
            "made with windows of 8 frames, but the policy asks for 4: set policy.latent_suffix",
        ),
        ("other_camera", "made from camera 'wrist', but policy.world_camera = 'front'"),
        (
            "other_dataset",
            "made from another dataset (toy/noise, fingerprint 0123456789abcdef) than this one",
        ),
        (
            "other_encoder",
            "made by another encoder (tiny, hash 0123456789abcdef) than the rollout's",
        ),
        ("other_content", "is not the file that its metadata describes (other content)"),
        ("other_length", "30 rows, but the dataset has 33 frames: make the latents again"),
    ],
)
def test_a_bad_file_is_refused(case, message):
    assert message in refused(
        BAD / case / NAME, camera="front", dataset="feedfeedfeedfeed", encoder="feedfeedfeedfeed"
    )


def test_latents_that_are_not_finite_never_reach_a_batch():
    """Its metadata is right about the content; nothing of ours would have written it."""
    cache = LatentCache(BAD / "nan_rows" / NAME, window=4, width=32)
    cache.gather(np.array([30]), 4, 2)
    for row, index in ((7, 9), (21, 20)):
        with pytest.raises(ValueError, match=f"row {row} holds NaN or infinite values"):
            cache.gather(np.array([30, index]), 4, 8)


def test_another_width_or_window_than_asked_is_refused(copied):
    assert "policy.world_latent_dim = 1408" in refused(copied, width=1408)
    assert "windows of 4 frames, but the policy asks for 8" in refused(copied, window=8)


def test_what_is_not_known_is_not_compared(copied):
    LatentCache(copied, 4, WIDTH, camera="front", dataset=None, encoder=None)
    assert (
        LatentCache(
            BAD / "nan_rows" / NAME, 4, 32, dataset="feedfeedfeedfeed", encoder="feedfeedfeedfeed"
        ).ends[-1]
        == 33
    )


def test_a_touched_file_is_read_once_more_and_a_changed_one_refused(copied):
    os.utime(copied, ns=(1, 1))
    LatentCache(copied, 4, WIDTH)
    content = bytearray(copied.read_bytes())
    content[-1] ^= 1
    copied.write_bytes(content)
    assert "other content" in refused(copied)


def test_an_index_or_episode_of_another_dataset_is_refused(path):
    cache = LatentCache(path, window=4, width=WIDTH)
    for wrong in (sum(EPISODES), -1):
        with pytest.raises(
            ValueError, match=f"Dataset index {wrong} lies outside .* made from another dataset"
        ):
            cache.gather(np.array([3, wrong]), 4, 8)
    cache.gather(np.array([19, 20]), 4, 8, np.array([0, 1]))
    with pytest.raises(
        ValueError, match=r"index 20 belongs to episode 0, but in the latent cache .* to episode 1"
    ):
        cache.gather(np.array([19, 20]), 4, 8, np.array([0, 0]))


def test_the_metadata_says_what_was_made_and_holds_the_statistics(toy, path):
    mean, std = LatentCache(path, window=4, width=WIDTH).statistics()
    stored = np.load(path).astype(np.float64)
    np.testing.assert_allclose(mean, stored.mean(0), rtol=1e-5)
    np.testing.assert_allclose(std, stored.std(0), rtol=1e-5)
    metadata = json.loads(metadata_path(path).read_text())
    assert metadata["dataset"]["repo_id"] == toy.repo_id
    assert metadata["encoder"]["kind"] == "vjepa2"
    assert metadata["encoder"]["name"] == str(toy.encoder)
    assert metadata["camera_keys"] == ["observation.images.image"]
    assert metadata["pooling"] == "mean over all tokens"
    assert (metadata["rows"], metadata["width"]) == (sum(EPISODES), WIDTH)
    assert metadata["window"] == 4
    assert metadata["episode_ends"] == np.cumsum(EPISODES).tolist()
    assert metadata["file"]["bytes"] == path.stat().st_size


@given(st.data())
def test_one_pass_in_blocks_finds_what_the_whole_array_shows(tmp_path_factory, data):
    width = data.draw(st.integers(1, 5))
    rows = data.draw(st.integers(2, 40))
    latents = (
        np.random.default_rng(data.draw(st.integers(0, 99)))
        .standard_normal((rows, width))
        .astype(np.float16)
        + 100
    )
    bad = data.draw(st.sets(st.integers(0, rows - 1), max_size=3))
    zero = data.draw(st.sets(st.integers(0, rows - 1), max_size=3)) - bad
    latents[list(bad), 0] = np.nan
    latents[list(zero)] = 0
    ends = np.unique([*data.draw(st.lists(st.integers(1, rows), max_size=3)), rows])
    path = tmp_path_factory.mktemp("file") / "latents.npy"
    np.save(path, latents)
    block = data.draw(st.integers(1, 40)) * width * 2
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("wmvla.world.latents.file.BLOCK_BYTES", block)
        figures = examine(path, ends)
    assert set(figures.bad_rows) == bad
    assert set(figures.zero_rows) == zero
    assert figures.bad_values == len(bad)
    exact = latents[sorted(set(range(rows)) - bad)].astype(np.float64)
    if len(exact):
        np.testing.assert_allclose(figures.mean, exact.mean(0), rtol=1e-12)
        np.testing.assert_allclose(figures.std, exact.std(0), rtol=1e-9, atol=1e-9)
    pairs = [
        (i, i + 1) for i in range(rows - 1) if i + 1 not in ends and not {i, i + 1} & (bad | zero)
    ]
    whole = latents.astype(np.float64)
    cosines = [
        whole[a] @ whole[b] / np.linalg.norm(whole[a]) / np.linalg.norm(whole[b]) for a, b in pairs
    ]
    np.testing.assert_allclose(
        figures.neighbour_cosine, np.mean(cosines) if cosines else np.nan, rtol=1e-9
    )
