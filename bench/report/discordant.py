"""The episodes that a difference comes from: those that only one side of a claim solved. Pure."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.plan.suite import Claim
from bench.record.run import Run
from wmvla.rollout.journal import Row, values
from wmvla.rollout.tally import SUCCESS, broken, ends, succeeded

Content = dict[str, Any]

MOST_LISTED = 12
"""Episodes that the report lists of each claim."""


def discordant(run: Run) -> list[Content]:
    """Of each claim that was asked its discordant episodes, in order of the table: all where any
    has a film, else at least as many as are listed, and how many there are."""
    return [_of_claim(run, claim) for claim in run.plan.claims if claim.asked]


def listed(found: Sequence[Content]) -> list[Content]:
    """The first `MOST_LISTED` of each claim. Non-obvious: films change nothing here: figures must
    not hang on what a packed run lacks."""
    return [{**each, "episodes": each["episodes"][:MOST_LISTED]} for each in found]


def filmed(found: Sequence[Content], films: frozenset[str]) -> list[Content]:
    """As `listed`, each episode with its ``film`` among `films` or None; filmed ones first."""
    if not films:
        return [
            {**each, "filmed": 0, "episodes": [{**one, "film": None} for one in each["episodes"]]}
            for each in listed(found)
        ]
    shown = []
    for each in found:
        names = [
            f"{each['left']}-s{one['seed']}-vs-{each['right']}-s{one['seed']}-{one['index']}.mp4"
            for one in each["episodes"]
        ]
        episodes = [
            {**one, "film": name if name in films else None}
            for one, name in zip(each["episodes"], names, strict=True)
        ]
        episodes.sort(
            key=lambda episode: episode["film"] is None
        )  # stable: the table's order holds within
        shown.append(
            {
                **each,
                "filmed": sum(name in films for name in names),
                "episodes": episodes[:MOST_LISTED],
            }
        )
    return shown


def single_films(run: Run) -> list[str]:
    """Names of the films of episodes alone, in the order of cases and episodes."""
    if not run.films:
        return []
    names = [
        f"{case.id}-{index}.mp4"
        for case in run.plan.rollout_cases()
        for index in values(run.rows[case.id], "index").tolist()
    ]
    return [name for name in names if name in run.films]


def _of_claim(run: Run, claim: Claim) -> Content:
    number, found = 0, []
    for seed in run.plan.seeds:
        left, right = (run.rows[f"{name}-s{seed}"] for name in (claim.left, claim.right))
        places, others = _differing(left, right)
        number += len(places)
        wanted = slice(None if run.films else MOST_LISTED)
        found += [
            {
                "seed": seed,
                **{key: row[key] for key in ("index", "task", "init", "repeat")},
                "solved_by": claim.left if succeeded(row) else claim.right,
                "left_told": _ending(row),
                "right_told": _ending(other),
            }
            for place, its in zip(places[wanted].tolist(), others[wanted].tolist(), strict=True)
            for row, other in [(left[place], right[its])]
        ]
    return {
        "claim": claim.id,
        "left": claim.left,
        "right": claim.right,
        "number": number,
        "episodes": found,
    }


def _differing(
    left: Sequence[Row], right: Sequence[Row]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where on either side the episodes stand that only one of the two solved."""
    _, places, others = np.intersect1d(
        values(left, "index"), values(right, "index"), assume_unique=True, return_indices=True
    )
    differ = (ends(left) == SUCCESS)[places] != (ends(right) == SUCCESS)[others]
    return places[differ], others[differ]


def _ending(row: Row) -> str:
    if broken(row):
        return str(row["status"])
    return f"{'solved' if succeeded(row) else 'not solved'}, {row['steps']} steps"
