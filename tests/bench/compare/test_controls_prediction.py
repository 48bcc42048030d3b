"""The suite controls-prediction: the memory suite's detached arm on a scene of our own."""

import pytest

from bench.plan.suite import load_suite
from wmvla.sim.control.scenes import BOUNCE, RELEASE, STEPS


def test_its_arms_are_those_of_the_memory_suite() -> None:
    control, memory = load_suite("controls-prediction"), load_suite("memory")
    assert list(control.arms) == ["E0", "E2-detached"]
    for name, arm in control.arms.items():
        asked = memory.arms[name]
        assert (arm.policy, arm.memory, arm.fields) == (asked.policy, asked.memory, asked.fields)
    assert control.arms["E2-detached"].fields.given() == {"world_detach_memory": True}
    assert {(claim.left, claim.kind) for claim in control.claims} == {
        ("E2-detached-pred", "superiority")
    }
    assert [claim.right for claim in control.claims] == [
        "E0-none",
        "E2-detached-zero",
        "E2-detached-hold",
    ]


@pytest.mark.parametrize("name", ["smoke", "mini"])
def test_no_initial_state_is_trained_on_and_played_and_the_policy_looks_at_the_release(
    name: str,
) -> None:
    recipe = load_suite("controls-prediction").scales[name].recipe
    trained, held_out, played = (
        recipe.demonstrations.inits,
        recipe.demonstrations.held_out,
        recipe.rollout.inits,
    )
    assert len({*trained, *held_out, *played}) == len(trained) + len(held_out) + len(played)
    assert (recipe.environment.suite, recipe.environment.max_steps) == (BOUNCE, STEPS)
    assert recipe.rollout.n_action_steps == RELEASE <= recipe.base.chunk_size


def test_the_memory_reaches_to_the_last_frame_from_the_release() -> None:
    """Eight steps, as core has them, would end before the last bounces."""
    assert (
        load_suite("controls-prediction").scales["mini"].recipe.world.horizon == STEPS - 1 - RELEASE
    )
