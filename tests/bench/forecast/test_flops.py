"""Operations and parameters by formula are those that torch counts in the real classes."""

import dataclasses
from pathlib import Path

import pytest
import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from torch.utils.flop_counter import FlopCounterMode
from transformers import VJEPA2Config, VJEPA2Model

from bench.forecast.flops import (
    LIBERO_WORDS,
    PUBLISHED_ENCODER,
    PUBLISHED_POLICY,
    EncoderShape,
    clip_operations,
    encoder_shape,
    policy_shape,
    query_operations,
    trained_parameters,
    training_operations,
)
from bench.plan.suite import load_suite
from wmvla.policy.tiny_vlm import make_tiny_vlm
from wmvla.recipe import Recipe
from wmvla.train.start import tiny_policy_fields
from wmvla.world.encoder import WorldEncoder
from wmvla.world.tiny_encoder import make_tiny_encoder

SAMPLES = 2


def encoder_parameters(shape: EncoderShape) -> float:
    return shape.layers * (4 + 2 * shape.ratio) * shape.width**2


@pytest.fixture(scope="module")
def small() -> Recipe:
    return load_suite("core").scales["small"].recipe


@pytest.fixture(scope="module")
def policy(small: Recipe, tmp_path_factory: pytest.TempPathFactory) -> SmolVLAPolicy:
    side = small.environment.image_size
    vlm = make_tiny_vlm(
        tmp_path_factory.mktemp("vlm") / "vlm", small.base, side, ["pick up the milk"]
    )
    cameras = [f"observation.images.{name}" for name in ("image", "image2")]
    inputs = {camera: PolicyFeature(FeatureType.VISUAL, (3, side, side)) for camera in cameras}
    fields = tiny_policy_fields(
        small.base, small.environment, small.rollout.n_action_steps, vlm
    ) | {
        "device": "cpu",
        "input_features": {**inputs, "observation.state": PolicyFeature(FeatureType.STATE, (8,))},
        "output_features": {"action": PolicyFeature(FeatureType.ACTION, (7,))},
    }
    return SmolVLAPolicy(SmolVLAConfig(**fields))


def batch_of(policy: SmolVLAPolicy, samples: int) -> dict[str, torch.Tensor]:
    images = {
        key: torch.rand(samples, *feature.shape)
        for key, feature in policy.config.image_features.items()
    }
    return images | {
        "observation.state": torch.randn(samples, 8),
        "observation.language.tokens": torch.ones(samples, LIBERO_WORDS, dtype=torch.int64),
        "observation.language.attention_mask": torch.ones(samples, LIBERO_WORDS, dtype=torch.bool),
    }


def test_a_training_step(small: Recipe, policy: SmolVLAPolicy) -> None:
    chunk = policy.config.chunk_size
    batch = batch_of(policy, SAMPLES) | {
        "action": torch.randn(SAMPLES, chunk, 7),
        "action_is_pad": torch.zeros(SAMPLES, chunk, dtype=torch.bool),
    }
    policy.train()
    with FlopCounterMode(display=False) as counter:
        policy.forward(batch)[0].backward()
    assert training_operations(policy_shape(small)) == pytest.approx(
        counter.get_total_flops() / SAMPLES, rel=0.1
    )


def test_an_answer(small: Recipe, policy: SmolVLAPolicy) -> None:
    policy.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        policy.predict_action_chunk(batch_of(policy, 1))
    assert query_operations(policy_shape(small)) == pytest.approx(
        counter.get_total_flops(), rel=0.1
    )


def test_parameters(small: Recipe, policy: SmolVLAPolicy) -> None:
    """But for embeddings and the head of the language model."""
    held = sum(parameter.numel() for parameter in policy.parameters())
    assert policy_shape(small).parameters == pytest.approx(held, rel=0.1)
    assert 10e6 < held < 15e6, "the scale's summary says twelve million"


def test_the_world_encoder(small: Recipe, tmp_path: Path) -> None:
    side = small.environment.image_size
    encoder = WorldEncoder(str(make_tiny_encoder(tmp_path / "encoder", small.world, side)))
    with FlopCounterMode(display=False) as counter:
        encoder.encode(torch.rand(1, small.world.window, 3, side, side))
    # the patches' embedding is left out
    assert clip_operations(encoder_shape(small)) == pytest.approx(
        counter.get_total_flops(), rel=0.05
    )


def test_the_published_shapes_have_the_published_numbers_of_parameters() -> None:
    assert encoder_parameters(PUBLISHED_ENCODER) == pytest.approx(1012e6, rel=0.02)
    assert PUBLISHED_POLICY.parameters - trained_parameters(PUBLISHED_POLICY) == pytest.approx(
        507e6, rel=0.02
    )
    with torch.device("meta"):
        config = VJEPA2Config(
            hidden_size=1408, num_hidden_layers=40, num_attention_heads=22, mlp_ratio=48 / 11
        )
        encoder = VJEPA2Model(config).encoder
    held = sum(parameter.numel() for parameter in encoder.parameters())
    assert encoder_parameters(PUBLISHED_ENCODER) == pytest.approx(held, rel=0.02)


def test_frozen_parts_cost_nothing_twice() -> None:
    frozen = training_operations(PUBLISHED_POLICY)
    trained = training_operations(dataclasses.replace(PUBLISHED_POLICY, trained=True))
    assert 2.5 < trained / frozen < 3
