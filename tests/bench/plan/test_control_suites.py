"""The two control suites: core's experiment on a scene of our own, and the same but for the
scene."""

import dataclasses

import pytest

from bench.plan.files import plan_from_json
from bench.plan.machine import load_machine
from bench.plan.make import make_plan
from bench.plan.suite import known_suites, load_suite
from wmvla.recipe import ArmFields

SUITES = ("controls", "controls-negative")


@pytest.mark.parametrize("name", SUITES)
def test_a_control_asks_what_core_asks_of_the_same_arms(name: str) -> None:
    control, core = load_suite(name), load_suite("core")
    assert control.arms == core.arms
    assert all(arm.fields == ArmFields() for arm in control.arms.values())
    asked = [
        [(claim.id, claim.kind, claim.left, claim.right, claim.says) for claim in suite.claims]
        for suite in (control, core)
    ]
    assert asked[0] == asked[1]
    assert control.sanity.rollout == core.sanity.rollout


def test_they_say_which_control_they_are_and_no_other_suite_does() -> None:
    found = {name: load_suite(name).control for name in known_suites()}
    assert {name: kind for name, kind in found.items() if kind} == {
        "controls": "positive",
        "controls-negative": "negative",
    }


def test_being_a_control_is_in_the_plan_and_not_in_its_hash() -> None:
    plan = make_plan(load_suite("controls"), "mini", load_machine("cpu"))
    assert plan.control == "positive"
    old = plan.to_json()
    del old["control"]
    assert plan_from_json(old) == dataclasses.replace(plan, control=None)


def test_the_two_differ_in_the_scene_and_in_what_is_said_of_it() -> None:
    positive, negative = map(load_suite, SUITES)
    assert (positive.seeds, positive.alpha, positive.claims) == (
        negative.seeds,
        negative.alpha,
        negative.claims,
    )
    assert list(positive.scales) == list(negative.scales) == ["smoke", "mini"]
    for name, scale in positive.scales.items():
        other = negative.scales[name]
        assert (scale.environment.suite, other.environment.suite) == (
            "control_catch",
            "control_mark",
        )
        assert scale.demonstrations.repo_id != other.demonstrations.repo_id
        alike = dataclasses.replace(
            other,
            environment=scale.environment,
            demonstrations=dataclasses.replace(
                other.demonstrations, repo_id=scale.demonstrations.repo_id
            ),
            summary=scale.summary,
            cannot_say=scale.cannot_say,
        )
        assert alike == scale


@pytest.mark.parametrize("scale", ["smoke", "mini"])
def test_no_initial_state_is_trained_on_and_played(scale: str) -> None:
    recipe = load_suite("controls").scales[scale].recipe
    trained, held_out, played = (
        recipe.demonstrations.inits,
        recipe.demonstrations.held_out,
        recipe.rollout.inits,
    )
    assert len({*trained, *held_out, *played}) == len(trained) + len(held_out) + len(played)
    assert recipe.rollout.episodes == len(played)


def test_the_policy_looks_when_the_paddle_is_released() -> None:
    from wmvla.sim.control.scenes import RELEASE, STEPS

    for scale in load_suite("controls").scales.values():
        assert scale.recipe.rollout.n_action_steps == RELEASE <= scale.recipe.base.chunk_size
        assert scale.recipe.environment.max_steps == STEPS
