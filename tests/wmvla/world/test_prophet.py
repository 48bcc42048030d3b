"""The Prophet, its bank of hypotheses, and their losses."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wmvla.world.prophet import ImaginationBank, bank_loss, cosine_per_step, world_loss

HISTORY, HORIZON, WIDTH = 4, 3, 8


def bank(hypotheses: int, method: str, dropout: float = 0.0) -> ImaginationBank:
    torch.manual_seed(0)
    return ImaginationBank(
        hypotheses, method, WIDTH, HISTORY, HORIZON, layers=1, heads=2, dropout=dropout
    ).eval()


@pytest.mark.parametrize(
    ("method", "dropout"), [("noise", 0.0), ("dropout", 0.3), ("ensemble", 0.0)]
)
def test_hypotheses_differ_and_replay(method, dropout):
    made, history, noise = (
        bank(3, method, dropout),
        torch.randn(5, HISTORY, WIDTH),
        torch.randn(5, 3 * HORIZON, WIDTH),
    )
    futures = made(history, noise)
    assert futures.shape == (5, 3, HORIZON, WIDTH)
    assert not torch.allclose(futures[:, 0], futures[:, 1])
    assert torch.equal(futures, made(history, noise))


@pytest.mark.parametrize("method", ["noise", "dropout"])
def test_a_hypothesis_is_the_prophet_varied_by_its_own_noise(method):
    """Folding the hypotheses into the batch mixes neither samples nor hypotheses."""
    made, history, noise = (
        bank(3, method, 0.3),
        torch.randn(5, HISTORY, WIDTH),
        torch.randn(5, 3 * HORIZON, WIDTH),
    )
    futures = made(history, noise)
    alone = made.prophets[0](history[2:3], noise[2:3, HORIZON : 2 * HORIZON], method)
    assert torch.allclose(futures[2, 1], alone[0], atol=1e-6)


def test_one_hypothesis_is_the_plain_prophet():
    made, history = bank(1, "noise"), torch.randn(5, HISTORY, WIDTH)
    assert not made.needs_noise
    assert torch.equal(made(history)[:, 0], made.prophets[0](history))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 4))
def test_best_of_n_is_the_smallest_loss_of_each_sample(seed, hypotheses):
    draws = torch.Generator().manual_seed(seed)
    futures, target = (torch.randn(6, n, HORIZON, WIDTH, generator=draws) for n in (hypotheses, 1))
    valid = torch.rand(6, HORIZON, generator=draws) > 0.4
    target = target[:, 0]
    losses, cosine = bank_loss(futures, target, valid, best_of_n=True)
    each = torch.stack(
        [world_loss(cosine_per_step(futures[:, n], target), valid) for n in range(hypotheses)], 1
    )
    assert torch.allclose(losses, each.min(1).values, atol=1e-6)
    assert torch.allclose(world_loss(cosine, valid), losses, atol=1e-6)


def test_the_single_target_loss_is_that_of_the_mean():
    futures, target = torch.randn(6, 4, HORIZON, WIDTH), torch.randn(6, HORIZON, WIDTH)
    valid = torch.ones(6, HORIZON, dtype=torch.bool)
    losses, _ = bank_loss(futures, target, valid, best_of_n=False)
    assert torch.allclose(losses, world_loss(cosine_per_step(futures.mean(1), target), valid))


def test_futures_behind_the_episode_do_not_count():
    cosine = torch.tensor([[0.5, -1.0], [0.2, 0.4]])
    valid = torch.tensor([[True, False], [False, False]])
    assert torch.allclose(world_loss(cosine, valid), torch.tensor([0.5, 0.0]))
