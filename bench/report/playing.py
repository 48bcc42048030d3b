"""How the episodes were played, and what they cost: of each rollout case, from its journal and its
record. Pure."""

from collections import Counter
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from bench.record.run import Record
from wmvla.rollout.journal import Row

Content = dict[str, Any]


def playing(case_id: str, rows: Sequence[Row], record: Record | None) -> Content:
    """Means over the episodes that were played to their end; those of old journals lack resets and
    batches.

    ``episodes_per_minute`` is that of the last session which played any, with its number of
    simulators.
    """
    played = [row for row in rows if row["status"] == "ok"]
    resets = Counter(row.get("reset") for row in rows)
    session, workers = (record or {}).get("played"), (record or {}).get("rollout_workers")
    return {
        "case": case_id,
        "episodes": len(played),
        "seconds": _mean(played, "seconds"),
        "cpu_seconds": _mean(played, "cpu_seconds"),
        "steps": _mean(played, "steps"),
        "queries": _mean(played, "queries"),
        "renders": _mean(played, "renders"),
        "rollout_workers": workers,
        "episodes_per_minute": 60 * session / record["seconds"]
        if record and session and record["seconds"]
        else None,
        "hard_resets": resets["hard"] if resets["hard"] or resets["cheap"] else None,
        "policy_batch": largest_batch(rows),
    }


def largest_batch(rows: Sequence[Row]) -> int:
    """Most queries that were answered together; 1 where nobody said so."""
    return max((row.get("policy_batch", 1) for row in rows), default=1)


def hard_resets(rows: Sequence[Row]) -> dict[str, int]:
    """Episodes with a hard reset by task, ``libero_10 task 3``, in order of the tasks."""
    found = Counter((row["suite"], row["task"]) for row in rows if row.get("reset") == "hard")
    return {f"{suite} task {task}": number for (suite, task), number in sorted(found.items())}


def _mean(rows: Sequence[Row], key: str) -> float | None:
    return sum(map(itemgetter(key), rows)) / len(rows) if rows else None
