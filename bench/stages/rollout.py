"""Rollouts: the plan's episode table played by one checkpoint in one mode, a journal line per episode."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cases import Case
from bench.journal import check_against_plan, journal_path
from bench.stages.context import Context
from wmvla.rollout.journal import Journal

if TYPE_CHECKING:
    from wmvla.recipe import EpisodeRow
    from wmvla.rollout.episode import EpisodeRecord


def run(context: Context, case: Case) -> dict[str, Any]:
    """Play the episodes that the journal lacks; figures: how many succeeded, and their CPU time."""
    from wmvla.rollout.engine import roll_out
    from wmvla.rollout.policy import RolloutPolicy
    from wmvla.rollout.worker import Simulators, make_libero

    plan = context.plan
    journal = Journal(journal_path(context.run_dir, case.id))
    check_against_plan(plan, case, journal.rows())
    finished = journal.finished()
    rows = [row for row in plan.episodes if row.index not in finished]
    if rows:
        mode = str(case.mode)
        policy = RolloutPolicy(checkpoint_of(context, case), mode, plan.recipe.rollout.n_action_steps, context.device)
        progress = context.progress(case.id, len(plan.episodes), len(finished))
        succeeded = sum(row["success"] for row in journal.rows())
        done = len(finished)

        def on_episode(row: "EpisodeRow", record: "EpisodeRecord") -> None:
            nonlocal succeeded, done
            journal.append({**asdict(row), "case": case.id, **asdict(record)})
            succeeded, done = succeeded + record.success, done + 1
            progress.update(done, f"{succeeded}/{done} succeeded")

        simulators = Simulators(
            plan.recipe.environment,
            policy.n_action_steps,
            policy.world_frames,
            policy.world_cameras,
            make_libero,
        )
        roll_out(rows, policy, simulators, plan.machine.rollout_workers, on_episode)
    lines = journal.rows()
    return {
        "artefacts": {"journal": journal.path.resolve()},
        "episodes": len(lines),
        "succeeded": sum(row["success"] for row in lines),
        "episode_cpu_seconds": round(sum(row["cpu_seconds"] for row in lines), 3),
    }


def checkpoint_of(context: Context, case: Case) -> Path:
    """The checkpoint of the case's trained arm."""
    record = json.loads((context.run_dir / "cases" / f"{case.needs[0]}.json").read_text())
    return context.absolute(record["artefacts"])["checkpoint"]
