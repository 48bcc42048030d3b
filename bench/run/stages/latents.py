"""World latents: every dataset frame encoded once, before any training that reads them."""

import functools
from pathlib import Path
from typing import Any

from bench.plan.cases import Case
from bench.run.stages.context import Context
from wmvla.errors import UserError


def run(context: Context, case: Case) -> dict[str, Any]:
    """Make the tiny encoder where one is asked for, and the latent cache; figures: rows and width.

    A cache that lies there already is used when it was made of the same dataset, encoder, window
    and camera. One of a tiny encoder that was not (an older version of this code made it) is made
    again; any other is the user's, and is refused.
    """
    from wmvla.data.frames import DatasetFrames
    from wmvla.world.encoder import WorldEncoder
    from wmvla.world.latents.cache import latents_path, metadata_path, read_metadata
    from wmvla.world.latents.writer import describe, refuse_unlike, write_latents
    from wmvla.world.tiny_encoder import make_tiny_encoder

    recipe = context.plan.recipe
    world, made_here = recipe.world, recipe.world.encoder == "tiny"
    path = latents_path(
        context.cache, context.dataset_repo_id, context.latents_source, context.latents_suffix
    )
    if made_here:
        make_tiny_encoder(Path(context.encoder_name), world, recipe.environment.image_size)
    encoder = WorldEncoder(context.encoder_name, context.device)
    frames = DatasetFrames(context.dataset_repo_id, context.dataset_root, world.camera)
    with context.alone(case.id, path):
        if made_here and path.exists():
            try:
                refuse_unlike(path, describe(frames, encoder, world.window))
            except UserError:
                path.unlink()
                metadata_path(path).unlink(missing_ok=True)
        progress = functools.partial(context.progress, case.id)
        write_latents(path, frames, encoder, world.window, progress=progress)
    metadata = read_metadata(path)
    return {"artefacts": {"latents": path}, "rows": metadata["rows"], "width": metadata["width"]}
