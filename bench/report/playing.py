"""How the episodes were played, and what they cost, by rollout case. Pure."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from bench.judge.pairing import RowsByCase
from bench.record.run import Record
from wmvla.rollout.journal import Row, values

Content = dict[str, Any]
FIGURES = ("seconds", "cpu_seconds", "steps", "queries", "renders")


def playing(case_id: str, rows: Sequence[Row], record: Record | None) -> Content:
    """Means over the episodes that were played to their end; old journals lack some keys.
    ``episodes_per_minute``, with its number of simulators, is of the last session that played."""
    played = values(rows, "status") == "ok"
    resets = values(rows, "reset")
    hard, cheap = (int((resets == kind).sum()) for kind in ("hard", "cheap"))
    session, workers = (record or {}).get("played"), (record or {}).get("rollout_workers")
    return {
        "case": case_id,
        "episodes": int(played.sum()),
        **{key: _mean(rows, played, key) for key in FIGURES},
        "rollout_workers": workers,
        "episodes_per_minute": 60 * session / record["seconds"]
        if record and session and record["seconds"]
        else None,
        "hard_resets": hard if hard or cheap else None,
        "policy_batch": largest_batch(rows),
    }


def largest_batch(rows: Sequence[Row]) -> int:
    """Most queries that were answered together; 1 where nobody said so."""
    sizes = set(values(rows, "policy_batch").tolist())
    return max((1 if size is UNSET else size for size in sizes), default=1)


def hard_resets(rows_by_case: RowsByCase) -> dict[str, int]:
    """Episodes with a hard reset by task, ``libero_10 task 3``, in order of the tasks."""
    found: Counter[tuple[str, int]] = Counter()
    for rows in rows_by_case.values():
        hard = values(rows, "reset") == "hard"
        suites, tasks = values(rows, "suite")[hard], values(rows, "task")[hard]
        found.update(zip(suites.tolist(), tasks.tolist(), strict=True))
    return {f"{suite} task {task}": number for (suite, task), number in sorted(found.items())}


def _mean(rows: Sequence[Row], played: NDArray[np.bool_], key: str) -> float | None:
    figures = values(rows, key)[played]
    return float(figures.mean()) if len(figures) else None
