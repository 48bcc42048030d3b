"""World latents of a rollout: each window is encoded once in its episode, and what comes out is
what whole histories give."""

import numpy as np
import pytest
import torch

from wmvla.errors import UserError
from wmvla.rollout.episode import Query
from wmvla.rollout.latents import HistoryLatents
from wmvla.world.encoder import WorldEncoder

from ..conftest import SIZE
from .fake import row

T, M = 4, 4


@pytest.fixture(scope="module")
def encoder(toy):
    return WorldEncoder(str(toy.encoder))


class Episode:
    """Frames of noise (C, steps, H, W, 3), and the queries that a simulator would send of them."""

    def __init__(self, index, cameras=1, steps=40):
        self.index, self.kept, self.asked = index, {}, 0
        self.frames = np.random.default_rng(index).integers(
            0, 256, (cameras, steps, SIZE, SIZE, 3), np.uint8
        )

    def query(self, step):
        steps = np.maximum(0, np.arange(step - (T + M - 2), step + 1))
        self.asked += 1
        return Query(
            row(self.index),
            self.asked - 1,
            step,
            "",
            np.zeros(8),
            {},
            self.frames[:, steps],
            self.kept,
        )


def whole(encoder, queries):
    """The latents of all windows of each query, encoded for it alone."""
    frames = [torch.from_numpy(query.frames).permute(0, 1, 4, 2, 3)[None] for query in queries]
    return torch.cat([encoder.encode_windows(history, M) for history in frames])


@pytest.mark.parametrize("cameras", [1, 2])
@pytest.mark.parametrize(
    ("n_action_steps", "windows"),
    [(1, [1, 1, 1, 1, 1, 1]), (3, [1, 3, 3, 3, 3, 3]), (8, [1, 4, 4, 4, 4])],
)
def test_a_window_is_encoded_once(encoder, n_action_steps, windows, cameras):
    """At step 0 the T windows are one; later ones overlap where fewer than T steps lie between the
    queries."""
    episode, latents, counts = Episode(1, cameras), HistoryLatents(encoder, T, M), []
    for number in range(len(windows)):
        before, query = latents.encoded, episode.query(number * n_action_steps)
        history = latents([query])
        counts.append(latents.encoded - before)
        assert history.shape == (1, T, cameras * encoder.width)
        torch.testing.assert_close(history, whole(encoder, [query]), rtol=1e-5, atol=1e-5)
    assert counts == windows
    assert len(episode.kept["latents"]) == min(T, 1 + (len(windows) - 1) * n_action_steps), (
        "older windows are dropped"
    )


def test_a_history_with_nothing_known_is_encoded_bit_for_bit_as_a_whole(encoder):
    query = Episode(2).query(20)
    assert torch.equal(HistoryLatents(encoder, T, M)([query]), whole(encoder, [query]))


def test_windows_of_waiting_queries_go_in_one_batch(encoder, monkeypatch):
    batches = []
    encode = encoder.encode
    monkeypatch.setattr(
        encoder, "encode", lambda clips: batches.append(len(clips)) or encode(clips)
    )
    latents, (one, two, three) = (
        HistoryLatents(encoder, T, M),
        (Episode(index, cameras=2) for index in range(3)),
    )
    latents([one.query(8)])
    queries = [one.query(10), two.query(0), three.query(5)]
    history = latents(queries)
    assert batches == [2 * 4, 2 * (2 + 1 + 4)], "in clips of two cameras"
    torch.testing.assert_close(history, whole(encoder, queries), rtol=1e-5, atol=1e-5)


def test_nothing_is_encoded_where_all_is_known(encoder):
    latents, episode = HistoryLatents(encoder, T, M), Episode(3)
    first, again = latents([episode.query(6)]), latents([episode.query(6)])
    assert latents.encoded == T
    assert torch.equal(first, again)


def test_a_window_that_the_encoder_does_not_see_whole_is_refused(encoder):
    with pytest.raises(UserError, match="multiple of 2"):
        HistoryLatents(encoder, T, 3)
