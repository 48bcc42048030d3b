"""Demonstrations: played by the scripted expert, or a published dataset."""

from pathlib import Path
from typing import Any

from bench.plan.cases import Case
from bench.run.stages.context import Context
from bench.run.stages.published import refuse_other_data


def run(context: Context, case: Case) -> dict[str, Any]:
    """Make the dataset, or open the hub's; figures: episodes and frames, and of the hub's how far
    its first images are from the simulator's (``wmvla.train.libero_data.turns``)."""
    from wmvla.data.opening import open_metadata

    recipe, root = context.plan.recipe, context.dataset_root
    if root is not None and not root.exists():
        from wmvla.sim.demonstrations import make_demonstrations

        total = len(recipe.environment.tasks) * len(recipe.demonstrations.inits)
        with context.alone(case.id, root):
            if not root.exists():
                progress = context.progress(case.id, total)
                make_demonstrations(
                    recipe.environment,
                    recipe.demonstrations,
                    root,
                    workers=context.simulators(total, policy_on_gpu=False),
                    progress=lambda done, _: progress.update(done),
                )
    metadata = open_metadata(root, context.dataset_repo_id)
    figures: dict[str, Any] = {"episodes": metadata.total_episodes, "frames": metadata.total_frames}
    if recipe.demonstrations.source == "hub":
        refuse_other_data(metadata, recipe.environment)
        figures["figures"] = {"images": _conventions(context)}
    return {"artefacts": {"dataset": Path(metadata.root)}, **figures}


def _conventions(context: Context) -> dict[str, Any]:
    """UserError where gripper or images of a published dataset are not LIBERO's; the images'
    figures."""
    from wmvla.data.opening import open_dataset
    from wmvla.train.libero_data import refuse_other_gripper, refuse_turned_images

    recipe = context.plan.recipe
    dataset, rows = open_dataset(context.dataset_repo_id, context.dataset_root)
    refuse_other_gripper(dataset, rows)
    init, seed = recipe.rollout.inits[0], recipe.rollout.env_seed
    return refuse_turned_images(dataset, rows, recipe.environment, init, seed)
