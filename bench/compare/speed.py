"""What training and playing cost in each run, by its records; it decides nothing."""

import math
from dataclasses import dataclass

from bench.record.run import Run, entry


@dataclass(frozen=True)
class Cost:
    case: str
    unit: str
    value: float


def costs(run: Run) -> list[Cost]:
    """Training samples a second, and seconds and CPU seconds of each episode played to its end."""
    found = []
    for case in run.plan.cases:
        if case.kind == "train":
            last = [entry(run.cases.get(case.id), "last", key) for key in ("samples", "seconds")]
            if all(isinstance(one, int | float) and 0 < one < math.inf for one in last):
                found.append(Cost(case.id, "samples/s", last[0] / last[1]))
        elif case.kind == "rollout":
            played = [row for row in run.rows[case.id] if row["status"] == "ok"]
            for key, unit in (("seconds", "s an episode"), ("cpu_seconds", "CPU s an episode")):
                if played:
                    found.append(Cost(case.id, unit, sum(row[key] for row in played) / len(played)))
    return found
