"""Runs of the same recipe on the same machine: what a plan takes its times, sizes and discordance
from."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from bench.judge.pairing import pair_all
from bench.judge.power import ASSUMED, Discordance, measured_discordance
from bench.judge.stats.power import design_effect
from bench.plan.document import PLAN_FILE, Plan
from bench.record.run import Run
from wmvla.errors import UserError

COMMITTED = "reference"
"""Folder of runs inside the folder of run directories."""
NotUsed = tuple[str, str]
"""Name of a run directory, and why nothing is taken from it."""


def find_past_runs(plan: Plan, folders: Iterable[Path]) -> tuple[list[Run], list[NotUsed]]:
    """All runs below `folders`, and below ``reference`` in them, that are comparable with `plan`,
    and those that cannot be read.

    Of several of one name, which are copies, the last.

    A run is comparable on a machine of the same name, with the same recipe but for how many steps
    are trained and which and how many episodes are played.
    """
    found: dict[str, Run] = {}
    not_used: dict[Path, str] = {}
    for folder in folders:
        for path in sorted(
            [*folder.glob(f"*/{PLAN_FILE}"), *folder.glob(f"{COMMITTED}/*/{PLAN_FILE}")]
        ):
            try:
                run = Run(path.parent)
                if run.plan.machine.name == plan.machine.name and (
                    _comparable(run.plan) == _comparable(plan)
                ):
                    _read(run)
                    found[path.parent.name] = run
            except UserError as error:
                not_used[path.parent] = str(error).replace(f"{path.parent}/", "")
    return list(found.values()), [(path.name, why) for path, why in not_used.items()]


def _read(run: Run) -> None:
    """Read what a plan takes from a run. UserError where a file is damaged."""
    for part in ("cases", "provenance", "rows"):
        getattr(run, part)


def processor_of(run: Run) -> str:
    """The processor that a run was made on."""
    model, cores = run.recorded("cpu", "model"), run.recorded("cpu", "cores_usable")
    return f"{model}, {cores} cores" if model and cores else "processor not recorded"


def discordances(plan: Plan, past_runs: Iterable[Run]) -> dict[str, Discordance]:
    """By claim the discordance of its two rollouts, from the run that has most pairs of them,
    else the assumed one.

    Only a run that trains both arms as the plan does, with as many steps, counts.
    """
    found = {claim.id: ASSUMED for claim in plan.claims}
    for run in past_runs:
        claims = [
            claim
            for claim in plan.claims
            if all(
                _trained(run.plan, name) == _trained(plan, name)
                for name in (claim.left, claim.right)
            )
        ]
        pairs = pair_all(run.plan, run.rows, [(claim.left, claim.right) for claim in claims])
        for claim, outcomes in zip(claims, pairs, strict=True):
            differences = outcomes.readings()["failures"]
            if len(differences) > (found[claim.id].measured or 0):
                only = int((differences > 0).sum()), int((differences < 0).sum())
                effect = design_effect(differences, outcomes.clusters)
                found[claim.id] = measured_discordance(*only, len(differences), effect)
    return found


def _comparable(plan: Plan) -> object:
    recipe = plan.recipe
    return dataclasses.replace(
        recipe,
        training=dataclasses.replace(recipe.training, steps=0),
        rollout=dataclasses.replace(recipe.rollout, episodes=0, inits=()),
    )


def _trained(plan: Plan, rollout: str) -> object:
    """All that decides the policy of a rollout but the recipe; None where the plan lacks its
    arm."""
    arm = plan.arms.get(rollout.rsplit("-", 1)[0])
    return None if arm is None else (arm.policy, arm.memory, arm.fields, plan.recipe.training.steps)
