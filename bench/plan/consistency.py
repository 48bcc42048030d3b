"""Whether a plan that is read could have been made: what it says twice it says alike. Pure."""

from collections.abc import Iterable
from dataclasses import fields
from operator import attrgetter

from bench.plan.cases import Case, make_cases
from bench.plan.document import Plan
from bench.plan.episode_table import table_fields
from wmvla.recipe import EpisodeRow

FIELDS = attrgetter(*(field.name for field in fields(EpisodeRow)))


def contradiction(plan: Plan) -> str | None:
    """What of a plan's content does not fit the rest of it, in one sentence; None where all does.

    Non-obvious: the hash of a plan that was changed is made again in a moment. Whoever does so must
    not get a report of episodes that no command would have planned, nor one that ends in a
    traceback. Only trainings and rollouts are compared with what would be planned today: checks on
    the way to them were added over time, and old runs can still be read.
    """
    if len(set(plan.seeds)) < len(plan.seeds):
        return "its 'seeds' have one twice"
    if plan.sequential and list(plan.sequential.looks) != sorted(set(plan.sequential.looks)):
        return "its 'sequential.looks' do not rise"
    if _results(plan.cases) != _results(make_cases(plan.arms, plan.seeds, held_out=False)):
        return "its 'cases' are not those of its arms and seeds"
    recipe = plan.recipe
    rows = len(recipe.environment.tasks) * recipe.rollout.episodes
    if len(plan.episodes) != rows or list(map(FIELDS, plan.episodes)) != list(table_fields(recipe)):
        return "its 'episodes' are not those of its recipe"
    return None


def _results(cases: Iterable[Case]) -> list[tuple[object, ...]]:
    return [
        (case.id, case.kind, case.arm, case.mode, case.seed)
        for case in cases
        if case.kind in ("train", "rollout")
    ]
