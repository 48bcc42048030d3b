"""Runs of the same recipe on the same machine: what a plan takes its times, sizes and discordance
from."""

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.judge.pairing import pair_outcomes
from bench.judge.power import ASSUMED, Discordance, measured_discordance
from bench.judge.stats.power import design_effect
from bench.plan.document import PLAN_FILE, Plan
from bench.plan.files import load_plan
from bench.record.journal import read_journals
from wmvla.errors import UserError

Record = dict[str, Any]
COMMITTED = "reference"
"""Folder of runs inside the folder of run directories."""


@dataclass(frozen=True)
class Reference:
    """A run that may be finished or not. What it has not done is not there."""

    run_dir: Path
    plan: Plan
    records: dict[str, Record]
    """Records of its finished cases."""
    host: str
    """The processor that it ran on."""


def find_references(plan: Plan, folders: Iterable[Path]) -> list[Reference]:
    """All readable runs below `folders`, and below ``reference`` in them, that are comparable with
    `plan`.

    Of several of one name, which are copies, the last.

    A run is comparable on a machine of the same name, with the same recipe but for how many steps
    are trained and which and how many episodes are played. Non-obvious: what is no run, or one of
    another version of this program, says nothing here and stops nothing.
    """
    found: dict[str, Reference] = {}
    for folder in folders:
        for path in sorted(
            [*folder.glob(f"*/{PLAN_FILE}"), *folder.glob(f"{COMMITTED}/*/{PLAN_FILE}")]
        ):
            try:
                other = load_plan(path.parent)
            except UserError:
                continue
            if other.machine.name == plan.machine.name and _comparable(other) == _comparable(plan):
                found[path.parent.name] = _reference(path.parent, other)
    return list(found.values())


def discordances(plan: Plan, references: Iterable[Reference]) -> dict[str, Discordance]:
    """By claim the discordance of its two rollouts, from the reference that has most pairs of them,
    else the assumed one.

    Only a reference that trains both arms as the plan does, with as many steps, can tell.
    """
    found = {claim.id: ASSUMED for claim in plan.claims}
    for reference in references:
        rows = read_journals(reference.plan, reference.run_dir)
        for claim in plan.claims:
            if not all(
                _trained(reference.plan, name) == _trained(plan, name)
                for name in (claim.left, claim.right)
            ):
                continue
            outcomes = pair_outcomes(reference.plan, rows, claim.left, claim.right)
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


def _reference(run_dir: Path, plan: Plan) -> Reference:
    paths = {case.id: run_dir / "cases" / f"{case.id}.json" for case in plan.cases}
    records = {
        case: json.loads(path.read_text(encoding="utf-8"))
        for case, path in paths.items()
        if path.is_file()
    }
    provenance = run_dir / "provenance.json"
    cpu = (
        json.loads(provenance.read_text(encoding="utf-8")).get("cpu", {})
        if provenance.is_file()
        else {}
    )
    host = (
        f"{cpu['model']}, {cpu['cores_usable']} cores"
        if {"model", "cores_usable"} <= set(cpu)
        else "processor not recorded"
    )
    return Reference(run_dir, plan, records, host)
