"""Counter-based randomness: every row once an epoch, the same numbers whenever they are asked
for."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from wmvla.streams import generator
from wmvla.train.streams import batch_rows, flow_noise, shift_images


@given(
    rows=st.integers(1, 40),
    batch=st.integers(1, 17),
    seed=st.integers(0, 5),
    epochs=st.integers(1, 3),
)
def test_every_epoch_visits_every_row_once(rows, batch, seed, epochs):
    steps = -(-rows * epochs // batch)
    order = np.concatenate([batch_rows(seed, step, batch, rows) for step in range(steps)])
    for epoch in range(epochs):
        assert sorted(order[epoch * rows : (epoch + 1) * rows]) == list(range(rows))


def test_streams_are_named_by_all_of_their_counter():
    first = torch.randn(4, generator=generator("noise", 1, 23))
    assert torch.equal(first, torch.randn(4, generator=generator("noise", 1, 23)))
    for other in (("noise", 12, 3), ("noise", 1, 24), ("order", 1, 23)):
        assert not torch.equal(first, torch.randn(4, generator=generator(*other)))


def test_flow_time_has_the_distribution_of_smolvla():
    from lerobot.policies.common.flow_matching import sample_time_beta

    _, ours = flow_noise(generator("test"), 20000, 1, 1)
    torch.manual_seed(0)
    theirs = sample_time_beta(20000, "cpu", alpha=1.5, beta=1.0, scale=0.999, offset=0.001)
    assert stats.ks_2samp(ours.numpy(), theirs.numpy()).pvalue > 0.001


def test_images_move_by_their_own_shift_and_edges_repeat():
    images = torch.arange(2 * 1 * 3 * 3, dtype=torch.float32).reshape(2, 1, 3, 3)
    moved = shift_images(images, torch.tensor([[0, 0], [1, -1]]))
    assert torch.equal(moved[0], images[0])
    assert moved[1, 0].tolist() == [[12, 12, 13], [15, 15, 16], [15, 15, 16]]
