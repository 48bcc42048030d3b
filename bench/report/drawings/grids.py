"""The grids of episodes: for each training seed and task, rollouts down, initial states across.
Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.record.run import Run
from wmvla.rollout.journal import Row
from wmvla.rollout.tally import broken, succeeded

Content = dict[str, Any]

MOST_CELLS = 6000
"""Of all grids together: more of them would make the page heavy, and nobody would look at them."""
MOST_GRIDS = 60


@dataclass
class _Played:
    """Episodes of one rollout case from one initial state."""

    first: Row
    number: int = 0
    wins: int = 0
    broken: int = 0

    @property
    def share(self) -> float:
        """Of the episodes that were played, those that were solved."""
        return round(self.wins / self.number, 3)


def grids(run: Run) -> list[Content]:
    """The first `MOST_GRIDS` grids; each says of how many columns (``of``) those that it shows are.

    A cell sums up the repeats of its initial state. A column is discordant where not all rollouts
    that have played it agree. Where there are too many columns, discordant ones go before the
    others.
    """
    plan, found = run.plan, []
    places = [(seed, task) for seed in plan.seeds for task in plan.recipe.environment.tasks][
        :MOST_GRIDS
    ]
    planned: dict[int, Counter[int]] = {}
    for episode in plan.episodes:
        planned.setdefault(episode.task, Counter())[episode.init] += 1
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
            found.append(
                {
                    "seed": seed,
                    "task": task,
                    "of": len(inits),
                    "inits": [inits[i] for i in shown],
                    "discordant": [discordant[i] for i in shown],
                    "rows": [
                        {
                            "rollout": case.rollout,
                            "cells": [
                                _cell(
                                    case.id,
                                    init,
                                    played[case.id].get((task, init)),
                                    planned[task][init],
                                )
                                for init in [inits[i] for i in shown]
                            ],
                        }
                        for case in cases
                    ],
                }
            )
    return found


def _by_place(rows: Sequence[Row]) -> dict[tuple[int, int], _Played]:
    """What was played, by task and initial state."""
    found: dict[tuple[int, int], _Played] = {}
    for row in rows:
        place = row["task"], row["init"]
        played = found.get(place)
        if played is None:
            played = found[place] = _Played(row)
        played.number += 1
        played.wins += succeeded(row)
        played.broken += broken(row)
    return found


def _shown(discordant: Sequence[bool], most: int) -> list[int]:
    """Which columns are shown, in their order: all, or as many as there is room for."""
    if len(discordant) <= most:
        return list(range(len(discordant)))
    return sorted(sorted(range(len(discordant)), key=lambda i: not discordant[i])[:most])


def _cell(case_id: str, init: int, played: _Played | None, planned: int) -> Content:
    told = f"{case_id}, init {init}: "
    if played is None:
        return {"share": None, "broken": False, "title": f"{told}not played yet"}
    if planned == 1:
        row = played.first
        told += (
            row["status"]
            if played.broken
            else f"{'solved' if played.wins else 'not solved'} in {row['steps']} steps"
        )
    else:
        told += f"{played.wins} of {played.number} solved" + (
            f", {played.broken} broken" if played.broken else ""
        )
    return {"share": played.share, "broken": played.broken > 0, "title": told}
