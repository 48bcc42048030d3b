"""What each memory mode hands to the fusion paths, in training and in rollouts."""

import pytest
import torch

from wmvla.policy.modeling_smolvla_world import (
    FRAMES,
    MEMORY_NOISE,
    MEMORY_ORDER,
    SmolVLAWorldPolicy,
)
from wmvla.policy.processor_smolvla_world import FUTURE, HISTORY
from wmvla.policy.tiny_vlm import make_tiny_vlm
from wmvla.streams import generator
from wmvla.wiring.planted_toy import (
    ACTION,
    BATCH,
    MODEL,
    SENTENCE,
    SIZE,
    WIDTH,
    toy_batch,
    toy_policy,
)

MEAN, STD = torch.linspace(-1, 1, WIDTH), torch.linspace(0.5, 2, WIDTH)


@pytest.fixture(scope="module")
def vlm(tmp_path_factory):
    return make_tiny_vlm(tmp_path_factory.mktemp("vlm") / "vlm", MODEL, SIZE, [SENTENCE])


def make(vlm, memory: str, **fields) -> SmolVLAWorldPolicy:
    policy = toy_policy(vlm, memory, 0, fields)
    assert isinstance(policy, SmolVLAWorldPolicy)
    policy.config.world_standardise = True
    policy.set_world_statistics(MEAN, STD)
    return policy


def trained_on(policy, **keys):
    """The memory that the fusion paths read in a training step, and the step's batch."""
    batch, noise, time = toy_batch(policy, torch.randn(WIDTH, ACTION), generator("batch"))
    batch |= keys
    seen = []
    policy.world_fusion.late.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))
    policy.train()
    policy(batch, noise, time)
    return seen[0], batch


@pytest.mark.parametrize("hypotheses", [1, 2])
def test_training_modes_that_need_no_prophet(vlm, hypotheses):
    noise = torch.randn(BATCH, 8 * hypotheses, WIDTH)
    expected = {
        "zero": lambda batch: torch.zeros_like(noise),
        "oracle": lambda batch: ((batch[FUTURE] - MEAN) / STD).repeat(1, hypotheses, 1),
        "shuffle": lambda batch: ((batch[FUTURE] - MEAN) / STD)[batch[MEMORY_ORDER]].repeat(
            1, hypotheses, 1
        ),
        "random": lambda batch: noise,
        "history": lambda batch: ((batch[HISTORY] - MEAN) / STD).repeat_interleave(
            2 * hypotheses, 1
        ),
    }
    for mode, want in expected.items():
        memory, batch = trained_on(
            make(vlm, mode, world_num_hypotheses=hypotheses), **{MEMORY_NOISE: noise}
        )
        assert torch.allclose(memory, want(batch)), mode


def test_the_prophet_predicts_a_delta_or_the_latent_itself(vlm):
    for delta in (True, False):
        policy = make(vlm, "pred", delta_prediction=delta)
        memory, batch = trained_on(policy)
        history = (batch[HISTORY] - MEAN) / STD
        told = policy.prophet(history)[:, 0]
        assert torch.allclose(memory, history[:, -1:] + told if delta else told, atol=1e-6)


def test_raw_latents_are_the_references_form(vlm):
    policy = toy_policy(vlm, "oracle", 0, {})
    assert not policy.config.world_standardise
    policy.set_world_statistics(MEAN, STD)
    memory, batch = trained_on(policy)
    assert torch.equal(memory, batch[FUTURE])


@pytest.mark.parametrize("detach", [False, True])
def test_a_detached_memory_gives_the_prophet_no_policy_gradient(vlm, detach):
    policy = make(vlm, "pred", world_detach_memory=detach, lambda_world=0.0, world_gate_init=0.5)
    batch, noise, time = toy_batch(policy, torch.randn(WIDTH, ACTION), generator("batch"))
    loss, _ = policy(batch, noise, time)
    loss.backward()
    gradients = [p.grad for p in policy.prophet.parameters()]
    assert all(gradient is None or not gradient.any() for gradient in gradients) == detach


def test_shuffle_needs_another_sample(vlm):
    policy = make(vlm, "shuffle")
    batch, noise, time = toy_batch(policy, torch.randn(WIDTH, ACTION), generator("batch"))
    alone = {key: value[:1] for key, value in batch.items() if key != MEMORY_ORDER}
    with pytest.raises(ValueError, match="at least 2 samples"):
        policy(alone, noise[:1], time[:1])


@pytest.mark.parametrize("mode", ["pred", "zero", "random", "hold", "history"])
def test_rollout_memory_is_that_of_recorded_latents(vlm, mode, monkeypatch):
    """``memory_from_latents`` is what replays are measured with; live rollouts build theirs from
    frames."""
    policy = make(vlm, "pred").eval()
    policy.config.world_memory_mode_rollout = mode
    history, future = torch.randn(2, 4, WIDTH), torch.randn(2, 8, WIDTH)
    monkeypatch.setattr(policy, "encode_history", lambda batch: history)
    noise = torch.randn(2, 8, WIDTH)
    assert policy.memory_noise_shape(2) == ((2, 8, WIDTH) if mode == "random" else None)
    with torch.no_grad():
        live = policy._rollout_memory(
            {"observation.state": torch.zeros(2, ACTION), FRAMES: None}, noise
        )
    assert torch.allclose(live, policy.memory_from_latents(mode, history, future, noise))


def test_oracle_is_the_recorded_future(vlm):
    policy = make(vlm, "pred").eval()
    history, future = torch.randn(2, 4, WIDTH), torch.randn(2, 8, WIDTH)
    assert torch.allclose(
        policy.memory_from_latents("oracle", history, future), (future - MEAN) / STD
    )
