"""Made-up control runs, and what can happen to one so that it does not count (functions of its run
directory)."""

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from synthetic_run import PROVENANCE, Outcome, core_plan, plan_of, write_run

from bench.plan.document import Plan

OTHER = "b" * 64
CODE = "a" * 64
Outcomes = dict[str, Sequence[Outcome]]
PLAN = core_plan("smoke")


def a_gain(plan: Plan) -> Outcomes:
    """Memory gains much, and nothing else changes anything."""
    baseline = [index % 3 > 0 for index in range(len(plan.episodes))]
    return {case.rollout: baseline for case in plan.rollout_cases()} | {
        "E2-pred": [True] * len(baseline)
    }


def no_gain(plan: Plan, success: bool = True) -> Outcomes:
    return {case.rollout: [success] * len(plan.episodes) for case in plan.rollout_cases()}


def a_run(
    results: Path, plan: Plan, outcomes: Outcomes, code: str | None = CODE, day: str = "2030-01-01"
) -> Path:
    """A run directory of that code, whose cases ended on that day."""
    run_dir = write_run(results / plan.run_name, plan, outcomes, metrics=False)
    recorded = {} if code is None else {"code_sha256": code}
    (run_dir / "provenance.json").write_text(
        json.dumps({**PROVENANCE, "collected_at": f"{day}T00:00:00+00:00", **recorded})
    )
    for path in (run_dir / "cases").iterdir():
        path.write_text(path.read_text().replace("2030-01-01", day))
    return run_dir


def rewrite_plan(run_dir: Path, plan: Plan) -> None:
    (run_dir / "plan.json").write_text(json.dumps(plan.to_json()))


def of_other_code(run_dir: Path) -> None:
    a_run(run_dir.parent, plan_of("controls", "mini"), {}, code=OTHER)


def of_unknown_code(run_dir: Path) -> None:
    (run_dir / "provenance.json").unlink()


def of_another_machine(run_dir: Path) -> None:
    plan = plan_of("controls", "mini")
    rewrite_plan(
        run_dir, dataclasses.replace(plan, machine=dataclasses.replace(plan.machine, name="other"))
    )


def unfinished(run_dir: Path) -> None:
    journal = run_dir / "episodes" / "E2-pred-s11.jsonl"
    journal.write_text("".join(journal.read_text().splitlines(keepends=True)[:-1]))


def _instead(run_dir: Path, scale: str, **overrides: Any) -> None:
    """Another run of the suite in the place of that one."""
    plan = plan_of("controls", scale, **overrides)
    a_run(run_dir.parent, plan, a_gain(plan))
    shutil.rmtree(run_dir)


def at_smoke_scale(run_dir: Path) -> None:
    _instead(run_dir, "smoke")


def with_fewer_episodes(run_dir: Path) -> None:
    _instead(run_dir, "mini", episodes=150)


def without_an_arm(run_dir: Path) -> None:
    _instead(run_dir, "mini", arms=("E0", "E2"))


def with_less_training(run_dir: Path) -> None:
    _instead(run_dir, "mini", steps=10)


def with_a_damaged_journal(run_dir: Path) -> None:
    (run_dir / "episodes" / "E0-none-s11.jsonl").write_text("nonsense\nnonsense\n")


def with_a_damaged_plan(run_dir: Path) -> None:
    (run_dir / "plan.json").write_text("{")


def with_the_plan_of_another_suite(run_dir: Path) -> None:
    rewrite_plan(run_dir, PLAN)
