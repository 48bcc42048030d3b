"""From suite, scale, machine and command line to a plan. Pure, but for `resolve_plan`."""

import dataclasses
import math
from collections.abc import Iterator

from bench.plan.cases import make_cases
from bench.plan.document import PLAN_VERSION, Method, Plan
from bench.plan.episode_table import make_episode_table
from bench.plan.looks import spread_looks
from bench.plan.machine import Machine, detect_machine, load_machine
from bench.plan.overrides import Overrides
from bench.plan.suite import SUITES, Arm, Suite, load_suite, rollout_names
from wmvla.documents import did_you_mean
from wmvla.errors import UserError
from wmvla.recipe import Recipe, Training


def resolve_plan(
    suite: str,
    scale: str | None = None,
    machine: str | None = None,
    overrides: Overrides | None = None,
) -> Plan:
    """The plan for a suite by name. None: the machine found here, and its default scale."""
    found = load_machine(detect_machine() if machine is None else machine)
    return make_plan(load_suite(suite, SUITES), scale, found, overrides)


def make_plan(
    suite: Suite, scale: str | None, machine: Machine, overrides: Overrides | None = None
) -> Plan:
    """Pure. UserError for an unknown scale or arm, and for impossible numbers."""
    overrides = overrides or Overrides()
    if scale is None:  # of a suite that stops short of the machine's, as controls do, its largest
        known = machine.default_scale in suite.scales
        scale = machine.default_scale if known else list(suite.scales)[-1]
    if scale not in suite.scales:
        raise UserError(
            f"unknown scale '{scale}' of suite '{suite.name}'; {did_you_mean(scale, suite.scales)}"
        )
    chosen = suite.scales[scale]
    arms = _chosen_arms(suite, overrides.arms)
    recipe = _override_recipe(chosen.recipe, overrides)
    if recipe.base.source == "tiny":  # trained here with its vision: there is nothing to cache
        machine = dataclasses.replace(machine, cache_vision=False)
    where = f"suite '{suite.name}', scale '{scale}'"
    if fault := next(_faults(recipe, machine), None):
        raise UserError(f"{where}: {fault}")
    seeds = overrides.seeds or suite.seeds
    sequential = None
    if overrides.sequential is not None:
        sequential = spread_looks(recipe.rollout, overrides.sequential, where)
    return Plan(
        version=PLAN_VERSION,
        suite=suite.name,
        question=suite.question,
        scale=scale,
        summary=chosen.summary,
        cannot_say=chosen.cannot_say,
        concludes=chosen.concludes,
        requires_gpu=chosen.requires_gpu,
        machine=machine,
        seeds=seeds,
        alpha=suite.alpha,
        method=Method(
            id="fixed-1" if sequential is None else "sequential-1",
            seeds="resampled" if len(seeds) > 1 else "pooled",
        ),
        sanity=suite.sanity,
        claims=tuple(
            dataclasses.replace(claim, asked={claim.left, claim.right} <= set(rollout_names(arms)))
            for claim in suite.claims
        ),
        arms=arms,
        recipe=recipe,
        episodes=make_episode_table(recipe),
        cases=make_cases(arms, seeds, bool(recipe.demonstrations.held_out)),
        control=suite.control,
        sequential=sequential,
    )


def _chosen_arms(suite: Suite, wanted: tuple[str, ...] | None) -> dict[str, Arm]:
    for name in wanted or ():
        if name not in suite.arms:
            raise UserError(
                f"unknown arm '{name}' of suite '{suite.name}'; {did_you_mean(name, suite.arms)}"
            )
    return {name: arm for name, arm in suite.arms.items() if wanted is None or name in wanted}


def _override_recipe(recipe: Recipe, overrides: Overrides) -> Recipe:
    rollout = recipe.rollout
    if overrides.episodes is not None:
        rollout = dataclasses.replace(rollout, episodes=overrides.episodes)
    training = _override_training(recipe.training, overrides)
    return dataclasses.replace(recipe, training=training, rollout=rollout)


def _override_training(training: Training, overrides: Overrides) -> Training:
    """The scale's training with the given steps, batch and sample budget. Non-obvious: a batch size
    given alone keeps the scale's sample budget (steps x batch), because arms and machines are
    compared at equal samples. Steps given alone change the budget."""
    batch = overrides.batch_size or training.batch_size
    steps = overrides.steps
    if overrides.total_samples is not None or steps is None:
        samples = overrides.total_samples or training.steps * training.batch_size
        needed = math.ceil(samples / batch)
        if steps is not None and steps != needed:
            raise UserError(
                f"STEPS={steps} and TOTAL_SAMPLES={samples} disagree: {samples} samples at batch"
                f" {batch} are {needed} steps; give one of the two"
            )
        steps = needed
    return dataclasses.replace(training, steps=steps, batch_size=batch)


def _faults(recipe: Recipe, machine: Machine) -> Iterator[str]:
    """What types cannot say of a recipe on a machine."""
    held_out, source = recipe.demonstrations.held_out, recipe.demonstrations.source
    if held_out and source != "expert":
        yield f"'demonstrations.held_out' needs source 'expert'; a {source} dataset has none"
    if seen_twice := sorted(set(held_out) & set(recipe.demonstrations.inits)):
        yield (
            f"'demonstrations.held_out' has {seen_twice[0]}, which 'demonstrations.inits' uses for"
            " training"
        )
    tasks = recipe.environment.tasks
    for key, values in (("rollout.inits", recipe.rollout.inits), ("environment.tasks", tasks)):
        if len(set(values)) < len(values):
            yield f"'{key}' has an entry twice; it is {list(values)}"
    if machine.cache_vision and recipe.training.image_shift:
        yield (
            f"'training.image_shift' is {recipe.training.image_shift}, so that images differ from"
            " step to step and their features cannot be cached; set 'cache_vision = false' for"
            f" machine '{machine.name}'"
        )
    parts = machine.accumulation_steps
    if recipe.training.batch_size % (machine.training_processes * parts):
        yield (
            f"batch size {recipe.training.batch_size} cannot be split evenly over the "
            f"{machine.training_processes} training processes of machine '{machine.name}'"
            f"{f' in {parts} parts each' if parts > 1 else ''}"
        )
