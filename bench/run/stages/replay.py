"""Replays: one trained arm on the held-out demonstrations, a line an episode; means recorded."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.plan.cases import Case
from bench.record.replay_summary import summary
from bench.run.stages.context import Context
from bench.run.stages.rollout import checkpoint_of
from wmvla.errors import UserError
from wmvla.files import write_file


def replay_path(run_dir: Path, case_id: str) -> Path:
    return run_dir / "replays" / f"{case_id}.jsonl"


def run(context: Context, case: Case) -> dict[str, Any]:
    """Replay every held-out demonstration; figures: the Prophet's cosine by k, action errors."""
    from wmvla.rollout.replay import MODES, Recording, replay
    from wmvla.world.latents.cache import latents_path

    held_out, plan = context.held_out, context.plan
    if held_out.dataset_root is None:
        raise UserError(
            f"{plan.recipe.demonstrations.repo_id}: the dataset is not on this disk any more; fetch"
            " it again and give the same command"
        )
    latents = [
        latents_path(context.cache, repo_id, context.latents_source, context.latents_suffix)
        for repo_id in (held_out.dataset_repo_id, context.dataset_repo_id)
    ]
    recording = Recording(held_out.dataset_root, held_out.dataset_repo_id, latents[0])
    past = any(arm.memory == "history" for arm in plan.arms.values())
    modes = (*MODES, "history") if past else MODES
    recipe = plan.recipe
    total = len(recipe.environment.tasks) * len(recipe.demonstrations.held_out)
    progress, lines = context.progress(case.id, total), []
    checkpoint, steps = checkpoint_of(context, case), recipe.rollout.n_action_steps
    for episode in replay(checkpoint, recording, latents[1], modes, steps, context.device):
        lines.append(asdict(episode))
        progress.update(len(lines))
    path = replay_path(context.run_dir, case.id)
    write_file(path, "".join(f"{json.dumps(line)}\n" for line in lines).encode())
    return {"artefacts": {"replay": path.resolve()}, **summary(lines)}
