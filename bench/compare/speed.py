"""What training and playing cost in each run, as its records tell; it decides nothing."""

import math
from dataclasses import dataclass

from bench.record.run import Record, Run, entry


@dataclass(frozen=True)
class Cost:
    case: str
    unit: str
    value: float


def costs(run: Run) -> list[Cost]:
    """Training samples a second of each training, and seconds and CPU seconds of each episode that
    was played to its end."""
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
    """Of a training that is done: all its samples by the seconds of its steps; None where its
    record does not tell."""
    told = [entry(record, "last", key) for key in ("samples", "seconds")]
    numbers = [value for value in told if isinstance(value, int | float) and 0 < value < math.inf]
    return numbers[0] / numbers[1] if len(numbers) == 2 else None
