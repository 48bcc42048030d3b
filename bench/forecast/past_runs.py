"""Runs of the same recipe on the same machine, for a plan's times, sizes and discordance."""

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
    """All runs below `folders`, and below ``reference`` in them, that are comparable with `plan`
    (of copies, which have one name, the last), and those that cannot be read. Comparable: a machine
    of the same name, the same recipe but for trained steps and episodes."""
    found: dict[str, Run] = {}
    not_used: dict[Path, str] = {}
    for folder in folders:
        patterns = (f"*/{PLAN_FILE}", f"{COMMITTED}/*/{PLAN_FILE}")
        for path in sorted(path for pattern in patterns for path in folder.glob(pattern)):
            try:
                run = Run(path.parent)
                same_machine = run.plan.machine.name == plan.machine.name
                if same_machine and _comparable(run.plan) == _comparable(plan):
                    for part in ("cases", "provenance", "rows"):
                        getattr(run, part)  # a damaged file is named here
                    found[path.parent.name] = run
            except UserError as error:
                not_used[path.parent] = str(error).replace(f"{path.parent}/", "")
    return list(found.values()), [(path.name, why) for path, why in not_used.items()]


def processor_of(run: Run) -> str:
    model, cores = run.recorded("cpu", "model"), run.recorded("cpu", "cores_usable")
    return f"{model}, {cores} cores" if model and cores else "processor not recorded"


def discordances(plan: Plan, past_runs: Iterable[Run]) -> dict[str, Discordance]:
    """By claim the discordance of its rollouts, from the run with most pairs, else the assumed one.
    Only a run that trains both arms as the plan does, with as many steps, counts."""
    found = {claim.id: ASSUMED for claim in plan.claims}
    for run in past_runs:
        trained_alike = [
            claim
            for claim in plan.claims
            if _trained(run.plan, claim.left) == _trained(plan, claim.left)
            and _trained(run.plan, claim.right) == _trained(plan, claim.right)
        ]
        sides = [(claim.left, claim.right) for claim in trained_alike]
        pairs = pair_all(run.plan, run.rows, sides)
        for claim, outcomes in zip(trained_alike, pairs, strict=True):
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
    """All that decides a rollout's policy but the recipe; None if the plan lacks its arm."""
    arm = plan.arms.get(rollout.rsplit("-", 1)[0])
    return None if arm is None else (arm.policy, arm.memory, arm.fields, plan.recipe.training.steps)
