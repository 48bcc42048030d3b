"""Which episodes two runs have in common: equal rows of the tables, begun in equal scenes."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from bench.judge.pairing import Outcomes, pair_outcomes
from bench.plan.document import Plan
from bench.record.journal import check_scenes
from bench.record.run import Run
from wmvla.recipe import EpisodeRow
from wmvla.rollout.journal import Row

Key = tuple[object, ...]


@dataclass(frozen=True)
class Pairing:
    """The common part of two plans, as the baseline has it."""

    plan: Plan
    """The baseline's, with those training seeds and those rows of the table that both have."""
    index: dict[int, int]
    """Of such a row in the other's table, the index in the baseline's."""


def pair_runs(baseline: Run, other: Run) -> Pairing | str:
    """The common episodes of two runs, or one sentence on why they are no pairs. A pair: one
    initial state, one seed of the environment, one of the noise, in one scene."""
    one, two = baseline.plan, other.plan
    rows = {_key(row): row for row in two.episodes}
    common = {row: rows[_key(row)] for row in one.episodes if _key(row) in rows}
    if not common:
        return (
            "their plans have no episode in common (task, initial state, seeds of environment and"
            " noise)"
        )
    seeds = tuple(seed for seed in one.seeds if seed in two.seeds)
    if not seeds:
        ours, theirs = (", ".join(map(str, plan.seeds)) for plan in (one, two))
        return f"they have no training seed in common ({ours} and {theirs})"
    places = {(row.suite, row.task, row.init) for row in common}
    left, right = (check_scenes(dict(run.rows)) for run in (baseline, other))
    for place in sorted(places & set(left) & set(right)):
        if left[place][0] != right[place][0]:
            suite, task, init = place
            return (
                f"{suite}, task {task}, init {init} began in a different scene: another simulator "
                "or machine played it"
            )
    plan = dataclasses.replace(one, seeds=seeds, episodes=tuple(common))
    return Pairing(plan, {theirs.index: ours.index for ours, theirs in common.items()})


def outcomes_of(pairing: Pairing, baseline: Run, other: Run, rollout: str) -> Outcomes:
    """Every common episode that both have finished; left is the other run, right the baseline."""
    rows: dict[str, Sequence[Row]] = {}
    for seed in pairing.plan.seeds:
        case = f"{rollout}-s{seed}"
        rows[f"baseline:{case}"] = baseline.rows.get(case, [])
        rows[f"other:{case}"] = [
            {**row, "index": pairing.index[row["index"]]}
            for row in other.rows.get(case, [])
            if row["index"] in pairing.index
        ]
    return pair_outcomes(pairing.plan, rows, f"other:{rollout}", f"baseline:{rollout}")


def _key(row: EpisodeRow) -> Key:
    return tuple(value for name, value in dataclasses.asdict(row).items() if name != "index")
