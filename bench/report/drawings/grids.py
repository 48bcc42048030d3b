"""The grids of episodes, by training seed and task: rollouts down, initial states across. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.record.run import Run
from wmvla.rollout.journal import Row, values
from wmvla.rollout.tally import ERROR, SUCCESS, ends

Content = dict[str, Any]

MOST_CELLS = 6000
"""Of all grids together: more of them would make the page heavy, and nobody would look at them."""
MOST_GRIDS = 60


@dataclass(frozen=True)
class _Played:
    """Episodes of one rollout case from one initial state."""

    first: Row
    number: int
    wins: int
    broken: int

    @property
    def share(self) -> float:
        """Of the episodes that were played, those that were solved."""
        return round(self.wins / self.number, 3)


def grids(run: Run) -> list[Content]:
    """The first `MOST_GRIDS` grids; each says of how many columns (``of``) those that it shows are.
    A cell sums up the repeats of its initial state. A column is discordant where not all rollouts
    that played it agree; of too many columns the discordant ones stay."""
    plan, found = run.plan, []
    places = [(seed, task) for seed in plan.seeds for task in plan.recipe.environment.tasks][
        :MOST_GRIDS
    ]
    planned: dict[int, dict[int, int]] = {}
    table = plan.table
    repeats = Counter(zip(table["task"].tolist(), table["init"].tolist(), strict=True))
    for (task, init), number in repeats.items():
        planned.setdefault(task, {})[init] = number
    rollouts = max(1, len(plan.rollout_cases()) // len(plan.seeds))
    most = max(8, MOST_CELLS // (rollouts * max(1, len(places))))
    for seed in dict.fromkeys(seed for seed, _ in places):
        cases = [case for case in plan.rollout_cases() if case.seed == seed]
        played = {case.id: _by_place(run.rows[case.id]) for case in cases}
        for task in [task for its_seed, task in places if its_seed == seed]:
            inits = list(planned.get(task, ()))
            shares = [
                {cell.share for case in cases if (cell := played[case.id].get((task, init)))}
                for init in inits
            ]
            discordant = [len(each) > 1 for each in shares]
            shown = _shown(discordant, most)
            columns = [inits[i] for i in shown]
            rows = []
            for case in cases:
                cells = [
                    _cell(case.id, init, played[case.id].get((task, init)), planned[task][init])
                    for init in columns
                ]
                rows.append({"rollout": case.rollout, "cells": cells})
            found.append(
                {
                    "seed": seed,
                    "task": task,
                    "of": len(inits),
                    "inits": columns,
                    "discordant": [discordant[i] for i in shown],
                    "rows": rows,
                }
            )
    return found


def _by_place(rows: Sequence[Row]) -> dict[tuple[int, int], _Played]:
    """What was played, by task and initial state."""
    ended, inits = ends(rows), values(rows, "init")
    _, first, place_of, numbers = np.unique(
        values(rows, "task") * (inits.max(initial=0) + 1) + inits,
        return_index=True,
        return_inverse=True,
        return_counts=True,
    )
    wins = np.bincount(place_of[ended == SUCCESS], minlength=len(first))
    broken = np.bincount(place_of[ended >= ERROR], minlength=len(first))
    played = [
        _Played(rows[place], *counts)
        for place, *counts in np.stack([first, numbers, wins, broken], axis=1).tolist()
    ]
    return {(each.first["task"], each.first["init"]): each for each in played}


def _shown(discordant: Sequence[bool], most: int) -> list[int]:
    """Which columns are shown, in their order: all, or as many as there is room for."""
    if len(discordant) <= most:
        return list(range(len(discordant)))
    return sorted(sorted(range(len(discordant)), key=lambda i: not discordant[i])[:most])


def _cell(case_id: str, init: int, played: _Played | None, planned: int) -> Content:
    title = f"{case_id}, init {init}: "
    if played is None:
        return {"share": None, "broken": False, "title": f"{title}not played yet"}
    if planned == 1:
        row = played.first
        title += (
            row["status"]
            if played.broken
            else f"{'solved' if played.wins else 'not solved'} in {row['steps']} steps"
        )
    else:
        title += f"{played.wins} of {played.number} solved" + (
            f", {played.broken} broken" if played.broken else ""
        )
    return {"share": played.share, "broken": played.broken > 0, "title": title}
