"""Memory modes: what each puts where."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from wmvla.world.memory import another_sample, hold, random_memory, spread


@given(st.integers(2, 40), st.integers(0, 2**31))
def test_every_sample_gets_the_future_of_another(batch, seed):
    other = another_sample(batch, torch.Generator().manual_seed(seed))
    assert sorted(other.tolist()) == list(range(batch))
    assert (other != torch.arange(batch)).all()
    assert torch.equal(other, another_sample(batch, torch.Generator().manual_seed(seed)))


def test_hold_repeats_the_present_and_spread_keeps_the_past_in_order():
    history = torch.arange(4.0)[None, :, None]
    assert hold(history, 3).flatten().tolist() == [3, 3, 3]
    assert spread(history, 8).flatten().tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert spread(history, 4).flatten().tolist() == [0, 1, 2, 3]
    assert spread(history, 2).flatten().tolist() == [1, 3]


def test_random_memory_replays():
    first, second = (random_memory((2, 3, 4), torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, second)
