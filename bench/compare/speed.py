"""What training and playing cost in each run, by its records; it decides nothing."""

import math
from dataclasses import dataclass

from bench.record.run import Record, Run, entry


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
            rate = samples_a_second(run.cases.get(case.id))
            found += [Cost(case.id, "samples/s", rate)] if rate else []
        elif case.kind == "rollout":
            played = [row for row in run.rows[case.id] if row["status"] == "ok"]
            for key, unit in (("seconds", "s an episode"), ("cpu_seconds", "CPU s an episode")):
                if played:
                    found.append(Cost(case.id, unit, sum(row[key] for row in played) / len(played)))
    return found


def samples_a_second(record: Record | None) -> float | None:
    """Of a finished training: all its samples by the seconds of its steps; None if not recorded."""
    recorded = [entry(record, "last", key) for key in ("samples", "seconds")]
    numbers = [one for one in recorded if isinstance(one, int | float) and 0 < one < math.inf]
    return numbers[0] / numbers[1] if len(numbers) == 2 else None
