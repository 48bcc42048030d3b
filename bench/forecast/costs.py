"""What a plan will cost by what comparable runs have cost; the rest is estimated, and marked."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.forecast.by_operations import Estimator
from bench.plan.cases import Case
from bench.plan.document import Plan
from bench.record.journal import journal_path
from bench.record.run import Record, Run
from wmvla.rollout.journal import journal_files

Key = tuple[str, ...]


@dataclass(frozen=True)
class Cost:
    """Of one case. None: no reference says."""

    case: Case
    seconds: float | None
    cpu_seconds: float | None
    size: int | None
    """Bytes of what the case leaves on the disk."""
    estimated: bool = False
    """Whether it was estimated from assumptions, not measured (`bench.forecast.by_operations`)."""

    def gpu_seconds(self, plan: Plan) -> float | None:
        """Seconds times GPUs: of a training one for each process, else one."""
        gpus = plan.machine.training_processes if self.case.kind == "train" else 1
        return None if self.seconds is None else gpus * self.seconds


@dataclass
class _Spent:
    units: float = 0.0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    sized: float = 0.0
    """Units whose bytes are known."""
    size: float = 0.0


def estimate(plan: Plan, past_runs: Sequence[Run]) -> tuple[Cost, ...]:
    """The cost of each case of the plan, if nothing of it is done yet. A training costs by its
    steps, a rollout by its episodes, anything else as often as it is done. Trainings are compared
    by policy and memory, rollouts by policy and mode."""
    spent: dict[Key, _Spent] = defaultdict(_Spent)
    for run in past_runs:
        for case_id, record in run.cases.items():
            _add(spent, run, run.plan.case(case_id), record)
    return tuple(_cost(plan, case, spent.get(_key(plan, case))) for case in plan.cases)


def fill(costs: Sequence[Cost], estimator: Estimator) -> tuple[Cost, ...]:
    """The costs, with an estimate for each case of which no reference says how long it takes."""
    return tuple(
        cost if cost.seconds is not None else _estimated(cost.case, estimator) for cost in costs
    )


def _estimated(case: Case, estimator: Estimator) -> Cost:
    found = estimator.of(case)
    return Cost(case, found.seconds, found.cpu_seconds, round(found.size), estimated=True)


def _add(spent: dict[Key, _Spent], run: Run, case: Case, record: Record) -> None:
    units = _units_done(case, record)
    if units <= 0:
        return
    so_far = spent[_key(run.plan, case)]
    so_far.units += units
    so_far.seconds += record["seconds"]
    so_far.cpu_seconds += record["cpu_seconds"]
    size = _size(run, case, record)
    if size is not None:
        so_far.sized += _units(run.plan, case)
        so_far.size += size


def _cost(plan: Plan, case: Case, spent: _Spent | None) -> Cost:
    if spent is None:
        return Cost(case, None, None, None)
    units = _units(plan, case)
    size = round(units * spent.size / spent.sized) if spent.sized else None
    seconds, cpu_seconds = spent.seconds / spent.units, spent.cpu_seconds / spent.units
    return Cost(case, units * seconds, units * cpu_seconds, size)


def _key(plan: Plan, case: Case) -> Key:
    if case.arm is None:
        return (case.id,)
    arm = plan.arms[case.arm]
    return (case.kind, arm.policy, arm.memory if case.kind == "train" else str(case.mode))


def _units(plan: Plan, case: Case) -> float:
    """How much of its kind a case is: steps of a training, episodes of a rollout."""
    return {"train": plan.recipe.training.steps, "rollout": len(plan.episodes)}.get(case.kind, 1)


def _units_done(case: Case, record: Record) -> float:
    """What the record's seconds were spent on; 0 if they are of a part only. Non-obvious: a case
    that was interrupted has the seconds of its last session. A rollout says how many episodes that
    played; of a training the logged seconds, which run on, give it away."""
    if case.kind == "rollout":
        return float(record["played"] if "played" in record else record["episodes"])
    logged = (record.get("last") or {}).get("seconds", 0.0)
    if case.kind in ("train", "base") and logged > record["seconds"]:
        return 0.0
    return float(record["steps"]) if case.kind == "train" else 1.0


def _size(run: Run, case: Case, record: Record) -> int | None:
    """Bytes that the case has left where the reference ran, if they are still there."""
    run_dir = run.run_dir
    if case.kind == "rollout":
        return _bytes(journal_files(journal_path(run_dir, case.id)))
    if case.kind == "train":
        return _bytes([run_dir / "checkpoints" / case.id])
    top = run_dir.resolve().parent.parent
    return _bytes([top / Path(path).expanduser() for path in record["artefacts"].values()])


def _bytes(paths: Sequence[Path]) -> int | None:
    """Bytes in files and folders; None where not all of them are there."""
    if not all(path.exists() for path in paths):
        return None
    files = [
        file
        for path in paths
        for file in ([path] if path.is_file() else path.rglob("*"))
        if file.is_file()
    ]
    return sum(file.stat().st_size for file in files)
