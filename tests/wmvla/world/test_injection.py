"""The gated softmax and the cross-attention."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wmvla.world.injection import GatedCrossAttention, gated_tokens

BATCH, HEADS, QUERIES, KEYS, TOKENS, WIDTH = 2, 2, 3, 5, 4, 6


def attention(seed: int, spread: float):
    """Scores and values of plain keys and gated tokens."""
    draws = torch.Generator().manual_seed(seed)
    scores = spread * torch.randn(BATCH, HEADS, QUERIES, KEYS + TOKENS, generator=draws)
    values = torch.randn(BATCH, HEADS, KEYS + TOKENS, WIDTH, generator=draws)
    return scores, values


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.1, 8))
def test_a_wide_open_gate_is_the_softmax_over_all_tokens(seed, spread):
    scores, values = attention(seed, spread)
    plain, normaliser = (
        scores[..., :KEYS].softmax(-1) @ values[:, :, :KEYS],
        scores[..., :KEYS].logsumexp(-1),
    )
    joined = gated_tokens(
        plain, scores[..., KEYS:], values[:, :, KEYS:], normaliser, torch.tensor([20.0])
    )
    assert torch.allclose(joined, scores.softmax(-1) @ values, atol=1e-4)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.1, 50))
def test_a_closed_gate_changes_no_bit_and_still_learns(seed, spread):
    scores, values = attention(seed, spread)
    plain, normaliser = (
        scores[..., :KEYS].softmax(-1) @ values[:, :, :KEYS],
        scores[..., :KEYS].logsumexp(-1),
    )
    gate = torch.zeros(1, requires_grad=True)
    joined = gated_tokens(plain, scores[..., KEYS:], values[:, :, KEYS:], normaliser, gate)
    assert torch.equal(joined, plain)
    joined.square().sum().backward()
    assert torch.isfinite(gate.grad).all()
    assert gate.grad.abs() > 0


def test_a_token_that_may_not_be_seen_counts_for_nothing():
    scores, values = attention(0, 1.0)
    plain, normaliser = (
        scores[..., :KEYS].softmax(-1) @ values[:, :, :KEYS],
        scores[..., :KEYS].logsumexp(-1),
    )
    hidden = torch.full_like(scores[..., KEYS:], float("-inf"))
    assert torch.equal(
        gated_tokens(plain, hidden, values[:, :, KEYS:], normaliser, torch.tensor([0.7])), plain
    )


@pytest.mark.parametrize("gate", [0.0, 0.5])
def test_cross_attention_attends_to_the_memory(gate):
    torch.manual_seed(0)
    path = GatedCrossAttention(8, 6, tokens=4, heads=2, gate=gate)
    hidden, memory = torch.randn(2, 3, 8), torch.randn(2, 4, 6)
    injected, context, weights = path(hidden, memory, watch=True)
    assert weights.shape == (2, 2, 3, 4)
    assert torch.allclose(weights.sum(-1), torch.ones(2, 2, 3))
    _, value = path.key_value(path.memory_norm(path.memory_proj(memory) + path.slots)).chunk(2, -1)
    read = (weights @ value.unflatten(-1, (2, 4)).transpose(1, 2)).transpose(1, 2).flatten(2)
    assert torch.allclose(
        path.output(read), context, atol=1e-6
    )  # the logged weights are the ones that were applied
    assert path(hidden, memory)[2] is None
    assert torch.allclose(injected, hidden + torch.tanh(torch.tensor(gate)) * context)
    assert torch.equal(injected, hidden) == (gate == 0)
