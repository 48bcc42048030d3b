"""The recipe's names against those that they stand for."""

import dataclasses
import types
import typing

from wmvla.policy.configuration_smolvla_world import (
    HYPOTHESIS_METHODS,
    PREFIX_BLOCKS,
    SmolVLAWorldConfig,
)
from wmvla.recipe import (
    FRAME_MODES,
    REFUSED_IN_ROLLOUTS,
    ROLLOUT_MODES,
    TRAINING_MODES,
    ArmFields,
    World,
)

CHOICES = {"world_prefix_block": PREFIX_BLOCKS, "world_hypothesis_method": HYPOTHESIS_METHODS}


def test_what_an_arm_may_set_are_fields_of_the_policy_and_of_their_types() -> None:
    policy = {field.name: field.type for field in dataclasses.fields(SmolVLAWorldConfig)}
    for name, kind in typing.get_type_hints(ArmFields).items():
        assert typing.get_origin(kind) in (types.UnionType, typing.Union)
        given, nothing = typing.get_args(kind)
        assert nothing is type(None)
        if name in CHOICES:
            assert typing.get_args(given) == tuple(CHOICES[name])
        else:
            assert policy[name] in (given, given.__name__)


def test_no_field_is_set_unless_it_is_given() -> None:
    assert ArmFields().given() == {}
    assert ArmFields(enable_world_injection=False, world_prefix_tokens=8).given() == {
        "enable_world_injection": False,
        "world_prefix_tokens": 8,
    }


def test_every_training_mode_can_be_rolled_out_or_is_refused_with_a_reason() -> None:
    assert set(TRAINING_MODES) - set(ROLLOUT_MODES) == set(REFUSED_IN_ROLLOUTS)
    assert set(ROLLOUT_MODES) >= FRAME_MODES


def test_cameras_are_the_policys() -> None:
    from wmvla.policy.configuration_smolvla_world import CAMERAS

    assert typing.get_args(typing.get_type_hints(World)["camera"]) == CAMERAS
