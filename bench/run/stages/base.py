"""The base policy of every arm: trained here from nothing, or a published checkpoint."""

from pathlib import Path
from typing import Any

from bench.forecast.hub import find_folder
from bench.plan.cases import Case
from bench.run.stages.context import Context
from bench.run.stages.training import run_job
from wmvla.errors import UserError


def run(context: Context, case: Case) -> dict[str, Any]:
    """Train or find the base checkpoint; figures: steps and the last loss."""
    recipe = context.plan.recipe
    if recipe.base.source != "tiny":
        folder = find_folder(recipe.base.checkpoint, "model")
        if folder is None:  # it was there when the run began
            raise UserError(
                f"{recipe.base.checkpoint}: the checkpoint is not on this disk any more; fetch it"
                " again and give the same command"
            )
        return {"artefacts": {"checkpoint": _with_the_datas_names(context, case, folder)}}
    from wmvla.policy.tiny_vlm import make_tiny_vlm
    from wmvla.sim.suites import known_sentences
    from wmvla.train.job import TrainingJob
    from wmvla.train.start import tiny_policy_fields

    sentences = known_sentences(recipe.environment)
    vlm = make_tiny_vlm(context.vlm_folder, recipe.base, recipe.environment.image_size, sentences)
    fields = tiny_policy_fields(recipe.base, recipe.environment, recipe.rollout.n_action_steps, vlm)
    job = TrainingJob(
        case=case.id,
        dataset_root=str(context.dataset_root),
        dataset_repo_id=context.dataset_repo_id,
        checkpoints=str(context.base_folder),
        metrics=str(context.base_folder / "metrics.jsonl"),
        seed=recipe.base.seed,
        training=recipe.base_training,
        device=context.device,
        precision=context.plan.machine.precision,
        strategy=context.plan.machine.strategy,
        accumulation_steps=context.plan.machine.accumulation_steps,
        trackers=context.trackers,
        scratch=fields,
    )
    with context.alone(case.id, context.base_folder):
        return run_job(context, job)


def _with_the_datas_names(context: Context, case: Case, folder: Path) -> Path:
    """The checkpoint itself, or a copy in the cache whose cameras are called as the data's are."""
    rename_map = context.plan.recipe.base.rename_map
    if not rename_map:
        return folder
    from wmvla.policy.conversion import rename_cameras

    target = context.base_folder / folder.name
    with context.alone(case.id, target):
        if not target.exists():
            rename_cameras(folder, target, rename_map)
    return target
