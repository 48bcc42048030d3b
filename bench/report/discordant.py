"""The episodes from which a difference comes: those that one side of a claim solved and the other did not. Pure."""

from collections.abc import Sequence
from typing import Any

from bench.pairs import broken, solved
from bench.report.records import Run
from bench.suite import Claim

Content = dict[str, Any]

MOST_LISTED = 12
"""Episodes that the report lists of each claim."""


def discordant(run: Run) -> list[Content]:
    """Of each claim that was asked its discordant episodes, in order of the table."""
    return [_of_claim(run, claim) for claim in run.plan.claims if claim.asked]


def listed(found: Sequence[Content]) -> list[Content]:
    """The first `MOST_LISTED` of each claim.

    Non-obvious: nothing is said of films, and none goes before another. A packed run may lack its films, and figures must not
    hang on that.
    """
    return [{**each, "episodes": each["episodes"][:MOST_LISTED]} for each in found]


def filmed(found: Sequence[Content], films: frozenset[str]) -> list[Content]:
    """As `listed`, each episode with the name of its ``film`` among `films` or None; those that have one go first."""
    told = []
    for each in found:
        names = [
            f"{each['left']}-s{one['seed']}-vs-{each['right']}-s{one['seed']}-{one['index']}.mp4" for one in each["episodes"]
        ]
        episodes = [{**one, "film": name if name in films else None} for one, name in zip(each["episodes"], names, strict=True)]
        episodes.sort(key=lambda episode: episode["film"] is None)  # stable: the table's order holds within
        told.append({**each, "filmed": sum(name in films for name in names), "episodes": episodes[:MOST_LISTED]})
    return told


def single_films(run: Run) -> list[str]:
    """Names of the films of episodes alone, in the order of cases and episodes."""
    names = [f"{case.id}-{row['index']}.mp4" for case in run.plan.rollout_cases() for row in run.rows[case.id]]
    return [name for name in names if name in run.films]


def _of_claim(run: Run, claim: Claim) -> Content:
    found = []
    for seed in run.plan.seeds:
        others = {row["index"]: row for row in run.rows.get(f"{claim.right}-s{seed}", ())}
        for row in run.rows.get(f"{claim.left}-s{seed}", ()):
            other = others.get(row["index"])
            if other is not None and solved(row) != solved(other):
                found.append(
                    {
                        "seed": seed,
                        **{key: row[key] for key in ("index", "task", "init", "repeat")},
                        "solved_by": claim.left if solved(row) else claim.right,
                        "left_told": _told(row),
                        "right_told": _told(other),
                    }
                )
    return {"claim": claim.id, "left": claim.left, "right": claim.right, "number": len(found), "episodes": found}


def _told(row: dict[str, Any]) -> str:
    if broken(row):
        return str(row["status"])
    return f"{'solved' if solved(row) else 'not solved'}, {row['steps']} steps"
