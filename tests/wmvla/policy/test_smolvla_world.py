"""Do no harm: with the gate closed ``smolvla_world`` is SmolVLA bit for bit; and the gate can
open."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from lerobot.utils.import_utils import register_third_party_plugins
from safetensors.torch import load_file, save_file
from torch import Tensor

from wmvla.data.dataset import open_data
from wmvla.policy.configuration_smolvla_world import SmolVLAWorldConfig
from wmvla.policy.conversion import add_world, load_policy, load_with_processors
from wmvla.policy.modeling_smolvla_world import FRAMES
from wmvla.policy.processor_smolvla_world import HISTORY
from wmvla.world.tiny_encoder import make_tiny_encoder

from ..conftest import MODEL, SIZE, WORLD


@pytest.fixture
def plain(base):
    return load_with_processors(base, "cpu")


@pytest.fixture
def world(base, toy):
    return add_world(base, toy.world, seed=3, device="cpu")


@pytest.fixture(scope="module")
def raw(toy):
    """A training batch as the data loader gives it, from both episodes."""
    data = open_data(toy.dataset, toy.repo_id, MODEL.chunk_size)
    return next(data.batches([np.array([0, 5, 19, 20, 31, 32])]))


def noise_and_time(batch_size: int) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(7)
    return torch.randn(batch_size, MODEL.chunk_size, 32, generator=draws), torch.rand(
        batch_size, generator=draws
    )


def observation(batch_size: int = 1) -> dict[str, Tensor]:
    draws = torch.Generator().manual_seed(11)
    images = {
        f"observation.images.{name}": torch.rand(batch_size, 3, SIZE, SIZE, generator=draws)
        for name in ("image", "image2")
    }
    return {
        **images,
        "observation.state": torch.rand(batch_size, 8, generator=draws),
        "task": ["pick up the milk"] * batch_size,
    }


def test_closed_gate_gives_the_loss_and_gradients_of_smolvla(plain, world, raw):
    noise, time = noise_and_time(6)
    results = []
    for policy, (preprocessor, _) in (plain, world):
        policy.train()
        loss, details = policy(preprocessor(dict(raw)), noise, time, "none")
        loss.mean().backward()
        results.append(
            (
                details.get("action_loss_per_sample", loss),
                {k: p.grad for k, p in policy.named_parameters()},
            )
        )
    (plain_loss, plain_gradients), (world_loss, world_gradients) = results
    assert torch.equal(plain_loss, world_loss)
    shared = [key for key, gradient in plain_gradients.items() if gradient is not None]
    assert len(shared) > 20
    for key in shared:
        assert torch.equal(plain_gradients[key], world_gradients[key]), key


@pytest.mark.parametrize("mode", ["pred", "zero", "random"])
def test_closed_gate_gives_the_actions_of_smolvla(plain, base, toy, mode):
    world, (preprocessor, _) = add_world(
        base, {**toy.world, "world_memory_mode_rollout": mode}, seed=3, device="cpu"
    )
    noise, _ = noise_and_time(2)
    batch = preprocessor(observation(2))
    frames = {FRAMES: torch.rand(2, 1, world.config.world_frames, 3, SIZE, SIZE)}
    chunk = plain[0].predict_action_chunk(dict(batch), noise)
    assert torch.equal(chunk, world.predict_action_chunk({**batch, **frames}, noise))
    plain[0].reset()
    world.reset()
    for _ in range(3):  # the second and third come from the queue, or from a new chunk
        assert torch.equal(
            plain[0].select_action(dict(batch), noise), world.select_action(dict(batch), noise)
        )


def test_the_gate_learns_from_zero(world, raw):
    policy, (preprocessor, _) = world
    noise, time = noise_and_time(6)
    loss, _ = policy(preprocessor(dict(raw)), noise, time)
    loss.backward()
    gate = policy.world_fusion.late.gate
    assert gate.shape == (1,)
    assert gate.item() == 0
    assert gate.grad.abs().item() > 0
    torch.optim.SGD([gate], 0.1).step()
    assert gate.item() != 0


def test_an_open_gate_lets_the_memory_reach_the_action(world):
    policy, (preprocessor, _) = world
    batch = preprocessor(observation())
    noise, _ = noise_and_time(1)
    frames = [torch.rand(1, 1, policy.config.world_frames, 3, SIZE, SIZE) for _ in range(2)]
    with torch.no_grad():
        policy.world_fusion.late.gate.fill_(1.0)
    first, second = (policy.predict_action_chunk({**batch, FRAMES: x}, noise) for x in frames)
    assert not torch.equal(first, second)


def test_stepwise_frames_give_the_memory_of_collected_frames(world):
    """Stock evaluation calls select_action at every step; the engine collects frames. Both see the
    same memory."""
    policy, (preprocessor, _) = world
    with torch.no_grad():
        policy.world_fusion.late.gate.fill_(0.5)
    draws = torch.Generator().manual_seed(5)
    count = MODEL.chunk_size
    policy.config.n_action_steps = 2
    frames = [torch.rand(1, 3, SIZE, SIZE, generator=draws) for _ in range(count)]
    noise, _ = noise_and_time(1)
    policy.reset()
    batch = preprocessor(observation())
    (camera,) = policy.config.world_camera_keys
    stepwise = [policy.select_action({**batch, camera: frame}, noise) for frame in frames]
    need = policy.config.world_frames
    seen = [frames[0]] * need + frames
    for query in range(0, count, 2):
        history = torch.stack(seen[query + 1 : query + 1 + need], dim=1)[:, None]
        chunk = policy.predict_action_chunk(
            {**batch, camera: frames[query], FRAMES: history}, noise
        )
        assert torch.equal(chunk[:, 0], stepwise[query])
        assert torch.equal(chunk[:, 1], stepwise[query + 1])


@pytest.mark.parametrize("ask", ["predict_action_chunk", "select_action"])
def test_a_memory_that_is_not_finite_makes_no_action(world, monkeypatch, ask):
    policy, (preprocessor, _) = world
    monkeypatch.setattr(
        policy, "encode_history", lambda batch: torch.full((1, 4, WORLD.encoder_hidden), torch.nan)
    )
    with pytest.raises(FloatingPointError, match="not finite"):
        getattr(policy, ask)({**preprocessor(observation()), FRAMES: None})


def test_training_without_latents_fails_at_the_first_batch(plain, world, raw):
    _, (preprocessor_without_latents, _) = plain
    batch = preprocessor_without_latents(dict(raw))
    assert HISTORY not in batch
    with pytest.raises(ValueError, match="carry no world latents"):
        world[0](batch)


def test_lerobot_finds_the_plugin_by_its_distribution():
    from lerobot.configs import PreTrainedConfig

    register_third_party_plugins()
    assert PreTrainedConfig.get_choice_class("smolvla_world") is SmolVLAWorldConfig


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"world_memory_mode_rollout": "oracle"},
            "in a live rollout the future is not known yet; choose pred, zero",
        ),
        (
            {"world_memory_mode_train": "perd"},
            "world_memory_mode_train = 'perd' is unknown: choose pred, oracle",
        ),
        (
            {"world_rollout_temporal_window": 8, "latent_suffix": "m4"},
            "contradicts policy.latent_suffix",
        ),
        ({"latent_suffix": "final"}, "does not contain the temporal window"),
        ({"world_latent_dim": 30}, "not a multiple of"),
    ],
)
def test_a_bad_configuration_is_refused_in_one_line(fields, message):
    with pytest.raises(ValueError, match=message) as caught:
        SmolVLAWorldConfig(**fields)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_other_shapes_is_refused(base, toy, tmp_path):
    import json
    import shutil

    copy = tmp_path / "other"
    shutil.copytree(base, copy)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "max_state_dim": 16}))
    with pytest.raises(
        ValueError,
        match=r"has other weights than the policy can have: model\.state_proj\.weight is \(32, 32\)",
    ):
        load_policy(copy)
    (copy / "config.json").write_text(json.dumps(config))
    weights = load_file(copy / "model.safetensors")
    fewer = {key: value for key, value in weights.items() if not key.startswith("model.state_proj")}
    save_file(fewer, copy / "model.safetensors")
    with pytest.raises(ValueError, match=r"lacks model\.state_proj\.weight and 1 more"):
        load_policy(copy)
    save_file({**weights, "model.tail": torch.zeros(1)}, copy / "model.safetensors")
    with pytest.raises(ValueError, match=r"the policy has not, model\.tail\."):
        load_policy(copy)
    (copy / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="not a finished checkpoint"):
        load_policy(copy)


def test_world_parts_are_added_with_the_statistics_of_the_latents(world):
    policy, _ = world
    assert policy.world_std.shape == (WORLD.encoder_hidden,)
    assert not torch.equal(policy.world_std, torch.ones(WORLD.encoder_hidden))


def test_a_rollout_with_another_encoder_than_the_latents_is_refused(world, toy, tmp_path):
    policy, (preprocessor, _) = world
    other = make_tiny_encoder(tmp_path / "other", replace(WORLD, encoder_seed=1), SIZE)
    policy.config.world_vision_model_name = str(other)
    frames = torch.zeros(1, 1, policy.config.world_frames, 3, SIZE, SIZE)
    with pytest.raises(ValueError, match="is not the one that made the latents of the training"):
        policy.predict_action_chunk({**preprocessor(observation()), FRAMES: frames})
