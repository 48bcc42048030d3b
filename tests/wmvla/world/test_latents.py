"""The latent cache: same values as the rollout's path, clamped at episode borders, bad files refused."""

import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wmvla.train.data import open_data
from wmvla.world.encoder import WorldEncoder
from wmvla.world.latents import LatentCache, clip_rows, episode_bounds, latents_path, metadata_path

from ..conftest import EPISODES, MODEL, WORLD, Toy

WIDTH = WORLD.encoder_hidden


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


def test_the_path_is_that_of_the_protocol(path, toy):
    assert path == toy.cache / "toy/noise" / "train_world_latents_vjepa_m4.fp16.npy"
    stored = np.load(path)
    assert stored.dtype == np.float16
    assert stored.shape == (sum(EPISODES), WIDTH)


def test_the_same_frames_give_the_same_latents_in_cache_and_rollout(path, toy):
    """The rollout hands over T + m - 1 float frames, padded with the first; the cache read uint8 clips."""
    data = open_data(toy.dataset, toy.repo_id, MODEL.chunk_size)
    frames = data.frames(np.arange(sum(EPISODES))).float() / 255
    cache = LatentCache(path, window=4, width=WIDTH)
    encoder = WorldEncoder(str(toy.encoder))
    for row, start in ((0, 0), (2, 0), (19, 0), (20, 20), (32, 20)):
        seen = [frames[max(start, row - back)] for back in range(6, -1, -1)]
        online = encoder.encode_windows(torch.stack(seen)[None], window=4)
        cached = cache.gather(np.array([row]), history=4, horizon=8)[0]
        # fp16 storage: 11 bits of mantissa
        np.testing.assert_allclose(cached[0], online[0].numpy(), rtol=1e-3, atol=1e-3)


def test_histories_and_futures_stay_inside_their_episode(path):
    cache = LatentCache(path, window=4, width=WIDTH)
    stored = np.load(path).astype(np.float32)
    history, future, valid = cache.gather(np.array([20, 18]), history=4, horizon=3)
    assert np.array_equal(history[0], stored[[20, 20, 20, 20]])  # first frame of the second episode
    assert np.array_equal(history[1], stored[[15, 16, 17, 18]])
    assert np.array_equal(future[0], stored[[21, 22, 23]])
    assert np.array_equal(future[1], stored[[19, 19, 19]])  # clamped at the last frame of the first episode
    assert valid.tolist() == [[True, True, True], [True, False, False]]


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


def refused(path, window=4, width=WIDTH):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 the message is checked by the caller
        LatentCache(path, window=window, width=width)
    assert "\n" not in str(caught.value)
    assert str(path.parent) in str(caught.value)
    return str(caught.value)


def test_a_missing_cache_is_refused(tmp_path):
    assert "World latents are missing" in refused(tmp_path / "train_world_latents_vjepa_m4.fp16.npy")


def test_another_width_or_window_than_asked_is_refused(copied):
    assert "policy.world_latent_dim = 1408" in refused(copied, width=1408)
    assert "windows of 4 frames, but the policy asks for 8" in refused(copied, window=8)


def test_a_cache_of_another_length_is_refused(copied):
    np.save(copied, np.load(copied)[:-1])
    assert "make the latents again" in refused(copied)


def test_broken_metadata_is_refused(copied):
    metadata_path(copied).write_text("{")
    assert "metadata cannot be read" in refused(copied)


def test_an_index_outside_the_cache_is_refused(path):
    with pytest.raises(ValueError, match="made from another dataset"):
        LatentCache(path, window=4, width=WIDTH).gather(np.array([sum(EPISODES)]), 4, 8)


def test_the_metadata_holds_the_statistics(path):
    mean, std = LatentCache(path, window=4, width=WIDTH).statistics()
    stored = np.load(path).astype(np.float64)
    np.testing.assert_allclose(mean, stored.mean(0), rtol=1e-5)
    np.testing.assert_allclose(std, stored.std(0), rtol=1e-5)
    assert json.loads(metadata_path(path).read_text())["window"] == 4
