"""What others measured of a run's rollouts, beside its own success. Pure; it decides nothing.

Shown are imported results, and published tables where the run plays LIBERO. Our own success stands
beside a row only where this run plays all of its tasks, and is then of those tasks alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from bench.compare.external_words import BESIDE, not_the_same_tasks, where
from bench.judge.stats.rates import wilson_interval
from bench.plan.document import Plan
from bench.plan.suite import rollout_names
from bench.record.external import External, Table
from wmvla.rollout.journal import Row
from wmvla.rollout.tally import Tally, tally_by_task

Content = dict[str, Any]


def beside(
    plan: Plan, rows: Mapping[str, Sequence[Row]], externals: Sequence[External]
) -> Content | None:
    """``{"note", "rows", "sources"}`` as JSON types; None if nobody measured a rollout of it. A
    row: who, rollout, label, where, rate, lower, upper (95 %), successes, episodes, note, ``ours``,
    ``ours_episodes`` or ``why_not_ours``. A source: name, kind, source, flaws, figures."""
    rollouts = list(rollout_names(plan.arms))
    fitting = [
        (each, table)
        for each in externals
        for table in each.tables
        if table.rollout in rollouts
        and (each.kind != "published" or plan.recipe.environment.suite.startswith("libero"))
    ]
    if not fitting:
        return None
    fitting.sort(key=lambda pair: rollouts.index(pair[1].rollout))
    sources = dict.fromkeys(each for each in externals if any(each == one for one, _ in fitting))
    return {
        "note": BESIDE,
        "rows": [{**table_row(each, table), **_ours(plan, rows, table)} for each, table in fitting],
        "sources": [
            {
                "name": each.name,
                "kind": each.kind,
                "source": each.source,
                "flaws": list(each.flaws),
                "figures": [
                    {"name": figure.name, "value": figure.value} for figure in each.figures
                ],
            }
            for each in sources
        ],
    }


def table_row(external: External, table: Table) -> Content:
    """What others measured, with its Wilson interval at 95 %."""
    lower, upper = wilson_interval(table.successes, table.episodes, 0.95)
    return {
        "who": external.name,
        "rollout": table.rollout,
        "label": table.label,
        "where": where(table.suite, table.tasks),
        "successes": table.successes,
        "episodes": table.episodes,
        "not_played": table.not_played,
        "rate": table.successes / table.episodes,
        "lower": lower,
        "upper": upper,
        "note": table.note,
    }


def _ours(plan: Plan, rows: Mapping[str, Sequence[Row]], table: Table) -> Content:
    """Our success in just those tasks, if this run plays all of them."""
    environment = plan.recipe.environment
    if environment.suite != table.suite or not set(table.tasks) <= set(environment.tasks):
        why = not_the_same_tasks(where(environment.suite, environment.tasks))
        return {"ours": None, "ours_episodes": 0, "why_not_ours": why}
    played = sum(
        (
            found
            for case in plan.rollout_cases(table.rollout)
            for task, found in tally_by_task(rows.get(case.id, ())).items()
            if task in table.tasks
        ),
        Tally(),
    )
    return {"ours": played.rate, "ours_episodes": played.episodes, "why_not_ours": None}
