"""Held-out demonstrations, which no arm is trained on, by the same expert, with their latents."""

from typing import Any

from bench.plan.cases import Case
from bench.run.stages import demonstrations, latents
from bench.run.stages.context import Context


def run(context: Context, case: Case) -> dict[str, Any]:
    """Make the second dataset and its latent cache; figures: those of both."""
    held_out = context.held_out
    played, encoded = demonstrations.run(held_out, case), latents.run(held_out, case)
    return {**encoded, **played, "artefacts": {**played["artefacts"], **encoded["artefacts"]}}
