"""Estimates of what nobody has run: they stand where no reference does, are called estimates, and
grow with the work."""

import dataclasses

import pytest

from bench.forecast.by_operations import Estimator
from bench.forecast.costs import Cost, estimate, fill
from bench.plan.document import Plan
from bench.plan.machine import load_machine, load_performance
from bench.plan.make import make_plan
from bench.plan.overrides import Overrides
from bench.plan.suite import load_suite
from bench.wording import plans


def plan_on(machine: str, scale: str, suite: str = "core", **overrides: int) -> Plan:
    return make_plan(load_suite(suite), scale, load_machine(machine), Overrides(**overrides))


def estimator(plan: Plan) -> Estimator:
    peak = load_performance(plan.machine.name).peak
    assert peak is not None
    return Estimator(plan, peak)


def seconds(plan: Plan) -> dict[str, float]:
    return {case.id: estimator(plan).of(case).seconds for case in plan.cases}


@pytest.mark.parametrize("machine", ["h100", "mi300x"])
def test_small_is_estimated_to_take_an_hour_at_most(machine: str) -> None:
    assert sum(seconds(plan_on(machine, "small")).values()) < 3600


@pytest.mark.parametrize("suite", ["core", "fusion", "memory"])
def test_every_case_of_every_scale_has_a_price(suite: str) -> None:
    for scale in load_suite(suite).scales:
        plan = plan_on("h100", scale, suite)
        costs = fill(estimate(plan, []), estimator(plan))
        assert all(
            cost.estimated and cost.seconds is not None and cost.seconds > 0 for cost in costs
        )


def test_costs_grow_with_the_work() -> None:
    once, more = (
        seconds(plan_on("h100", "full")),
        seconds(plan_on("h100", "full", steps=100_000, episodes=400)),
    )
    assert more["E0-train-s0"] / once["E0-train-s0"] == pytest.approx(2, rel=0.01)
    assert more["E2-pred-s0"] / once["E2-pred-s0"] == pytest.approx(2, rel=0.1)
    assert once["E2-pred-s0"] > 2 * once["E2-zero-s0"], "its frames are drawn and encoded"
    eight = seconds(plan_on("h100-8", "full"))
    assert eight["E0-train-s0"] < once["E0-train-s0"] / 3
    assert eight["latents"] == once["latents"], "one process encodes"


def test_what_was_measured_is_kept() -> None:
    plan = plan_on("h100", "small")
    measured = [
        Cost(case, 1.0, 2.0, 3) if case.kind == "train" else Cost(case, None, None, None)
        for case in plan.cases
    ]
    filled = fill(measured, estimator(plan))
    assert {cost.case.kind for cost in filled if not cost.estimated} == {"train"}
    told = dict(plans.cost_lines(plan, filled, ["a run"], estimator(plan)))
    assert "of them an estimate" in told["wall time"]
    assert told["measured by"] == "a run"
    assert told["estimated"].startswith("not measured: ")


def test_full_scale_says_what_is_fetched_and_stored() -> None:
    plan = plan_on("mi300x", "full")
    told = dict(
        plans.cost_lines(plan, fill(estimate(plan, []), estimator(plan)), [], estimator(plan))
    )
    assert "fetched before" in told["disk"]
    assert "1307.4 TFLOP/s" in told["estimated"]
    sizes = {case.id: estimator(plan).of(case).size for case in plan.cases}
    assert sizes["latents"] == pytest.approx(273_465 * 1408 * 2), (
        "the published cache has as many rows of that width"
    )
    small = plan_on("mi300x", "small")
    assert "fetched" not in dict(plans.cost_lines(small, [], [], estimator(small)))["disk"]


def test_both_cameras_cost_twice() -> None:
    plan = plan_on("h100", "full")
    world = dataclasses.replace(plan.recipe.world, camera="both")
    both = dataclasses.replace(plan, recipe=dataclasses.replace(plan.recipe, world=world))
    (latents,) = (case for case in plan.cases if case.kind == "latents")
    assert estimator(both).of(latents).size == 2 * estimator(plan).of(latents).size
