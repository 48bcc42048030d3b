"""Made-up runs for tests and for looking at reports. Never results: nothing here was trained or
simulated."""

import json
import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.plan.cases import Case
from bench.plan.document import Plan
from bench.plan.files import write_plan
from bench.plan.machine import load_machine
from bench.plan.make import make_plan
from bench.plan.overrides import Overrides
from bench.plan.suite import load_suite
from bench.record.journal import journal_path
from bench.record.replay_summary import summary
from wmvla.rollout.journal import Journal, Row

Outcome = bool | str | None
"""Success, failure, ``error``, ``timeout``, or None: not played yet."""

REALISTIC = {"E0-none": 0.71, "E1-zero": 0.71, "E2-pred": 0.83, "E2-zero": 0.69, "E2-random": 0.58}


def core_plan(scale: str = "mini", **overrides: Any) -> Plan:
    return plan_of("core", scale, **overrides)


def plan_of(suite: str, scale: str = "mini", **overrides: Any) -> Plan:
    return make_plan(load_suite(suite), scale, load_machine("cpu"), Overrides(**overrides))


def rows_of(plan: Plan, case: Case, outcomes: Sequence[Outcome]) -> list[Row]:
    """Journal rows of one case, one outcome for each row of the table."""
    rows = []
    for episode, outcome in zip(plan.episodes, outcomes, strict=True):
        if outcome is None:
            continue
        spread = random.Random(f"{case.id} {episode.index}")
        success = outcome is True
        steps = spread.randint(95, 150) if success else plan.recipe.environment.max_steps
        seconds = round(steps * (0.075 if case.arm != "E0" else 0.03) * spread.uniform(0.9, 1.1), 2)
        broken = isinstance(outcome, str)
        rows.append(
            {
                "index": episode.index,
                "case": case.id,
                "suite": episode.suite,
                "task": episode.task,
                "init": episode.init,
                "env_seed": episode.env_seed,
                "noise_seed": episode.noise_seed,
                "repeat": episode.repeat,
                "success": success,
                "steps": 0 if broken else steps,
                "status": outcome if isinstance(outcome, str) else "ok",
                "error": f"made-up {outcome}" if broken else None,
                "seconds": seconds,
                "cpu_seconds": round(0.9 * seconds, 2),
                "scene_hash": None if broken else f"{episode.env_seed:08x}" * 4,
                "queries": math.ceil(steps / plan.recipe.rollout.n_action_steps),
                "renders": 2 * math.ceil(steps / plan.recipe.rollout.n_action_steps),
                "reset": None if broken else "cheap",
                "policy_batch": 1,
            }
        )
    return rows


def rows_by_case(plan: Plan, outcomes: Mapping[str, Sequence[Outcome]]) -> dict[str, list[Row]]:
    """Rows of every rollout case; `outcomes` by rollout (all seeds alike) or by case."""
    return {
        case.id: rows_of(plan, case, outcomes.get(case.id, outcomes.get(case.rollout, ())))
        for case in plan.rollout_cases()
        if case.id in outcomes or case.rollout in outcomes
    }


def drawn_outcomes(
    plan: Plan, rates: Mapping[str, float], seed: int = 0
) -> dict[str, list[Outcome]]:
    """Successes at the given rates, correlated over arms as real ones are: some episodes are easy,
    some hard."""
    found: dict[str, list[Outcome]] = {}
    for case in plan.rollout_cases():
        outcomes: list[Outcome] = []
        for episode in plan.episodes:
            shared = random.Random(f"{seed} {case.seed} {episode.index}").random()
            own = random.Random(f"{seed} {case.id} {episode.index}").random()
            outcomes.append((shared if own < 0.6 else (own - 0.6) / 0.4) < rates[case.rollout])
        found[case.id] = outcomes
    return found


def write_run(
    run_dir: Path,
    plan: Plan,
    outcomes: Mapping[str, Sequence[Outcome]],
    metrics: bool = True,
    records: bool = True,
    provenance: bool = True,
) -> Path:
    """A whole run directory with those outcomes, by rollout or by case."""
    write_plan(plan, run_dir)
    for case_id, rows in rows_by_case(plan, outcomes).items():
        journal = Journal(journal_path(run_dir, case_id))
        journal.path.parent.mkdir(parents=True, exist_ok=True)
        journal.path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    for case in plan.cases:
        if case.kind == "train" and metrics:
            _write_metrics(run_dir / "metrics" / f"{case.id}.jsonl", plan, case)
        if records:
            _write_record(run_dir / "cases" / f"{case.id}.json", plan, case)
    if provenance:
        (run_dir / "provenance.json").write_text(json.dumps(PROVENANCE))
    return run_dir


def _write_metrics(path: Path, plan: Plan, case: Case) -> None:
    spread = random.Random(case.id)
    world = plan.arms[str(case.arm)].policy == "smolvla_world"
    memory = plan.arms[str(case.arm)].memory
    lines = []
    for step in range(1, plan.recipe.training.steps + 1):
        done = step / plan.recipe.training.steps
        action = 0.09 * math.exp(-2 * done) + 0.035 + spread.gauss(0, 0.006)
        line = {
            "step": step,
            "learning_rate": plan.recipe.training.learning_rate * (1 - 0.98 * done),
            "samples": step * plan.recipe.training.batch_size,
            "loss_total": action,
            "action_loss": action,
            "grad_norm": 0.5 + spread.random(),
            "seconds": round(0.08 * step, 3),
        }
        if world:
            cosine = 0.62 * (1 - math.exp(-4 * done)) + spread.gauss(0, 0.01)
            line |= {
                "world_loss": 1 - cosine,
                "world_cos": cosine,
                "world_cos_k": [
                    cosine * (0.6 + 0.05 * k) for k in range(plan.recipe.world.horizon)
                ],
                "world_attn_k": [1 / plan.recipe.world.horizon] * plan.recipe.world.horizon,
                "world_valid_frac": 0.95,
                "world_gate": (0.05 * done if memory == "pred" else 0.0),
                "loss_total": action + plan.recipe.world.lambda_world * (1 - cosine),
            }
        lines.append(json.dumps(line))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def _write_record(path: Path, plan: Plan, case: Case) -> None:
    seconds = SECONDS[case.kind]
    spread = random.Random(case.id).uniform(0.9, 1.1)
    record = {
        "case": case.id,
        "kind": case.kind,
        "seconds": round(seconds * spread, 1),
        "cpu_seconds": round(1.6 * seconds * spread, 1),
        "finished_at": "2030-01-01T00:00:00Z",
        "artefacts": {},
    }
    if case.kind == "replay":
        record |= summary(
            [
                _replayed(plan, case, episode)
                for episode in range(len(plan.recipe.demonstrations.held_out))
            ]
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record))


def _replayed(plan: Plan, case: Case, episode: int) -> dict[str, Any]:
    """A line of a replay."""
    spread, horizon = random.Random(f"{case.id} {episode}"), plan.recipe.world.horizon
    modes = {"pred": 0.21, "zero": 0.24, "random": 0.26, "hold": 0.22, "oracle": 0.2}
    if any(arm.memory == "history" for arm in plan.arms.values()):
        modes["history"] = 0.23
    return {
        "episode": episode,
        "frames": 120,
        "valid": [119 - k for k in range(horizon)],
        "cosine": [0.4 + 0.04 * k + spread.gauss(0, 0.02) for k in range(horizon)],
        "mean_delta_cosine": [0.2 + 0.03 * k + spread.gauss(0, 0.02) for k in range(horizon)],
        "queries": 15,
        "actions": 15 * 7 * 14,
        "action_error": {mode: error * spread.uniform(0.9, 1.1) for mode, error in modes.items()},
    }


SECONDS = {
    "demonstrations": 148.0,
    "base": 152.0,
    "latents": 9.0,
    "wiring": 12.0,
    "held-out": 40.0,
    "train": 48.0,
    "rollout": 160.0,
    "replay": 8.0,
}

PROVENANCE = {
    "git": {"commit": "0" * 40, "dirty": False},
    "python": "3.12.0",
    "packages": {"torch": "2.11.0", "lerobot": "0.6.1", "mujoco": "3.3.2", "deepspeed": None},
    "cpu": {"model": "made-up <b>CPU</b>", "cores_usable": 2, "memory_bytes": 8_000_000_000},
    "gl_renderer": "llvmpipe (made up)",
    "environment": {"OMP_NUM_THREADS": "1"},
}
