"""Replays: what is measured of recorded episodes is what its definition says, by another way of
computing it."""

import numpy as np
import pytest
import torch

from wmvla.data.dataset import open_data
from wmvla.policy.conversion import add_world
from wmvla.rollout.replay import (
    MODES,
    Recording,
    action_errors,
    mean_delta,
    prophet_cosines,
    replay,
)
from wmvla.streams import generator
from wmvla.train.loop import train
from wmvla.world.latents.cache import LatentCache, latents_path

from ..conftest import EPISODES, MODEL, WORLD

GATE = {"world_gate_init": 1.0}


@pytest.fixture(scope="module")
def latents(toy):
    return LatentCache(latents_path(toy.cache, toy.repo_id, "vjepa", "m4"), 4, WORLD.encoder_hidden)


def world_policy(toy, base, **fields):
    policy, processors = add_world(base, {**toy.world, **fields}, seed=3, device="cpu")
    return policy.eval(), processors


def changes(latents, horizon=8):
    """Standardised changes by plain loops: per k a list of (row, z_{t+k} - z_t)."""
    exact = latents.latents.astype(np.float64)
    z = (exact - exact.mean(0)) / exact.std(0)
    starts = [0, EPISODES[0]]
    return [
        [
            (t, z[t + k] - z[t])
            for start, length in zip(starts, EPISODES, strict=True)
            for t in range(start, start + length)
            if t + k < start + length
        ]
        for k in range(1, horizon + 1)
    ]


def test_the_mean_change_is_that_of_all_pairs_inside_an_episode(toy, base, latents):
    policy, _ = world_policy(toy, base)
    expected = np.stack(
        [np.mean([change for _, change in pairs], axis=0) for pairs in changes(latents)]
    )
    np.testing.assert_allclose(mean_delta(policy, latents).numpy(), expected, atol=2e-3)


def test_cosines_are_those_of_predicted_and_true_change(toy, base, latents, monkeypatch):
    """A Prophet that always says the same vector has the cosines that this vector has, computed by
    hand."""
    policy, _ = world_policy(toy, base)
    said = torch.randn(8, WORLD.encoder_hidden, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(
        policy.prophet, "forward", lambda history, noise=None: said.expand(len(history), 1, -1, -1)
    )
    rows = np.arange(EPISODES[0], sum(EPISODES))
    valid, cosine, typical = prophet_cosines(policy, latents, rows, said)
    assert valid == [EPISODES[1] - k for k in range(1, 9)]
    expected = []
    for k, pairs in enumerate(changes(latents)):
        inside = [change for t, change in pairs if t in rows]
        vector = said[k].double().numpy()
        expected.append(
            np.mean([c @ vector / np.linalg.norm(c) / np.linalg.norm(vector) for c in inside])
        )
    np.testing.assert_allclose(cosine, expected, atol=2e-3)
    np.testing.assert_allclose(typical, cosine, atol=1e-5)


def test_a_true_prophecy_has_cosine_one_in_every_hypothesis_of_a_bank(
    toy, base, latents, monkeypatch
):
    policy, _ = world_policy(toy, base, world_num_hypotheses=3)
    rows = np.arange(EPISODES[0] - 8)  # all futures inside the episode

    def prophesy(history, noise=None):
        _, future, _ = latents.gather(rows, 4, 8)
        true = (torch.from_numpy(future) - policy.world_mean) / policy.world_std
        return (true - history[:, -1:])[:, None].expand(-1, 3, -1, -1)

    monkeypatch.setattr(policy.prophet, "forward", prophesy)
    _, cosine, _ = prophet_cosines(policy, latents, rows, torch.ones(8, WORLD.encoder_hidden))
    np.testing.assert_allclose(cosine, np.ones(8), atol=1e-5)


def test_behind_a_closed_gate_every_memory_gives_one_error_and_behind_an_open_one_not(
    toy, base, latents
):
    data, rows = open_data(toy.dataset, toy.repo_id, MODEL.chunk_size), np.arange(0, 20, 2)
    closed, actions = action_errors(*world_policy(toy, base), data, latents, rows, MODES, 0)
    assert len(set(closed.values())) == 1
    assert actions == 7 * sum(min(MODEL.chunk_size, EPISODES[0] - row) for row in rows)
    opened, _ = action_errors(*world_policy(toy, base, **GATE), data, latents, rows, MODES, 0)
    assert len(set(opened.values())) == len(MODES)


def test_the_error_is_that_of_the_chunk_up_to_the_episodes_end(toy, base, latents):
    """Two steps before the end only the chunk's first two actions count."""
    data = open_data(toy.dataset, toy.repo_id, MODEL.chunk_size)
    policy, processors = world_policy(toy, base, **GATE)
    errors, count = action_errors(policy, processors, data, latents, np.array([18]), ("zero",), 0)
    (recorded,) = data.batches([np.array([18])])
    batch = processors[0](
        {key: recorded[key] for key in (*data.cameras, "observation.state", "task")}
    )
    noise = torch.randn(1, MODEL.chunk_size, 32, generator=generator("replay-action", 0, 0))
    chunk = processors[1](
        policy.predict_action_chunk(batch, noise, memory=torch.zeros(1, 8, WORLD.encoder_hidden))
    )
    assert count == 2 * 7
    assert errors["zero"] == pytest.approx((chunk - recorded["action"])[0, :2].abs().mean().item())


def test_a_checkpoint_is_replayed_the_same_way_twice(toy, base, tmp_path):
    job = toy.scratch_job(tmp_path / "E2", scratch=None, base=str(base), world=toy.world)
    checkpoint = train(job)
    path = latents_path(toy.cache, toy.repo_id, "vjepa", "m4")
    recording = Recording(toy.dataset, toy.repo_id, path)
    once, again = (
        list(replay(checkpoint, recording, path, (*MODES, "history"), 2, "cpu")) for _ in range(2)
    )
    assert once == again
    assert [(episode.episode, episode.frames, episode.queries) for episode in once] == [
        (0, 20, 10),
        (1, 13, 7),
    ]
    assert all(set(episode.action_error) == {*MODES, "history"} for episode in once)
    assert all(
        abs(value) <= 1
        for episode in once
        for value in (*episode.cosine, *episode.mean_delta_cosine)
    )
