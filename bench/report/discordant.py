"""The episodes from which a difference comes: those that one side of a claim solved and the other
did not. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from bench.plan.suite import Claim
from bench.record.run import Run
from wmvla.rollout.journal import Row
from wmvla.rollout.tally import broken, succeeded

Content = dict[str, Any]

MOST_LISTED = 12
"""Episodes that the report lists of each claim."""


def discordant(run: Run) -> list[Content]:
    """Of each claim that was asked its discordant episodes, in order of the table."""
    wins = {case: {row["index"]: succeeded(row) for row in rows} for case, rows in run.rows.items()}
    return [_of_claim(run, claim, wins) for claim in run.plan.claims if claim.asked]


def listed(found: Sequence[Content]) -> list[Content]:
    """The first `MOST_LISTED` of each claim.

    Non-obvious: nothing is said of films, and none goes before another. A packed run may lack its
    films, and figures must not hang on that.
    """
    return [{**each, "episodes": each["episodes"][:MOST_LISTED]} for each in found]


def filmed(found: Sequence[Content], films: frozenset[str]) -> list[Content]:
    """As `listed`, each episode with the name of its ``film`` among `films` or None; those that
    have one go first."""
    if not films:
        return [
            {**each, "filmed": 0, "episodes": [{**one, "film": None} for one in each["episodes"]]}
            for each in listed(found)
        ]
    told = []
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
        told.append(
            {
                **each,
                "filmed": sum(name in films for name in names),
                "episodes": episodes[:MOST_LISTED],
            }
        )
    return told


def single_films(run: Run) -> list[str]:
    """Names of the films of episodes alone, in the order of cases and episodes."""
    if not run.films:
        return []
    names = [
        f"{case.id}-{row['index']}.mp4"
        for case in run.plan.rollout_cases()
        for row in run.rows[case.id]
    ]
    return [name for name in names if name in run.films]


def _of_claim(run: Run, claim: Claim, wins: Mapping[str, Mapping[int, bool]]) -> Content:
    found = []
    for seed in run.plan.seeds:
        left, right = f"{claim.left}-s{seed}", f"{claim.right}-s{seed}"
        other_wins = wins.get(right, {})
        differing = {
            index for index, won in wins.get(left, {}).items() if other_wins.get(index, won) != won
        }
        others = {row["index"]: row for row in run.rows.get(right, ()) if row["index"] in differing}
        found += [
            {
                "seed": seed,
                **{key: row[key] for key in ("index", "task", "init", "repeat")},
                "solved_by": claim.left if succeeded(row) else claim.right,
                "left_told": _told(row),
                "right_told": _told(others[row["index"]]),
            }
            for row in run.rows.get(left, ())
            if row["index"] in differing
        ]
    return {
        "claim": claim.id,
        "left": claim.left,
        "right": claim.right,
        "number": len(found),
        "episodes": found,
    }


def _told(row: Row) -> str:
    if broken(row):
        return str(row["status"])
    return f"{'solved' if succeeded(row) else 'not solved'}, {row['steps']} steps"
