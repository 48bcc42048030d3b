"""World latents: every dataset frame encoded once, before any training that reads them."""

from pathlib import Path
from typing import Any

from bench.cases import Case
from bench.stages.context import Context


def run(context: Context, case: Case) -> dict[str, Any]:
    """Make the tiny encoder where one is asked for, and the latent cache; figures: rows and width."""
    from wmvla.train.data import open_data
    from wmvla.world.encoder import WorldEncoder
    from wmvla.world.latents import latents_path, read_metadata, write_latents
    from wmvla.world.tiny_encoder import make_tiny_encoder

    recipe = context.plan.recipe
    path = latents_path(context.cache, context.dataset_repo_id, context.latents_source, context.latents_suffix)
    if recipe.world.encoder == "tiny":
        make_tiny_encoder(Path(context.encoder_name), recipe.world, recipe.environment.image_size)
    encoder = WorldEncoder(context.encoder_name, context.device)
    fingerprint = encoder.fingerprint()
    if not path.exists() or read_metadata(path)["encoder_weights"] != fingerprint:
        data = open_data(context.dataset_root, context.dataset_repo_id, recipe.base.chunk_size)
        progress = context.progress(case.id, int(data.ends[-1]))
        description = {
            "dataset": context.dataset_repo_id,
            "camera": data.cameras[0],
            "encoder": Path(context.encoder_name).name,
            "encoder_weights": fingerprint,
        }
        write_latents(
            path,
            data.frames,
            data.ends,
            encoder,
            recipe.world.window,
            description,
            progress=lambda done, _: progress.update(done),
        )
    metadata = read_metadata(path)
    return {"artefacts": {"latents": path}, "rows": metadata["rows"], "width": metadata["width"]}
