"""What runs have made and put into the cache: no user can fetch it, but a run makes it again."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.run.stages.context import Context
from wmvla.errors import UserError

DAMAGED = re.compile(r"cannot be (read|loaded)|is not a |does not exist|lacks |are not in ")
"""How refusals of damaged files read; what is locked, or may not be read, is not to be removed."""


@contextmanager
def with_remedy(context: Context) -> Iterator[None]:
    """A refusal of such a thing inside the block says what to remove, so that it is made again."""
    try:
        yield
    except UserError as error:
        said = str(error)
        if not DAMAGED.search(said) or " remove " in said or "Permission denied" in said:
            raise
        for thing, case in _things(context).items():
            if str(thing) in said:
                record = context.run_dir / "cases" / f"{case}.json"
                gone = " and ".join(map(str, [thing, *([record] if record.exists() else [])]))
                raise UserError(
                    f"{said.removesuffix(': fetch it again.').rstrip('.')}; it was made by a run:"
                    f" remove {gone}, and the same command makes it again"
                ) from error
        raise


def _things(context: Context) -> dict[Path, str]:
    """Folders, and the case that makes each."""
    recipe, things = context.plan.recipe, dict[Path, str]()
    if recipe.base.source == "tiny":
        things |= {context.vlm_folder: "base", context.base_folder: "base"}
    if recipe.world.encoder == "tiny":
        things[Path(context.encoder_name)] = "latents"
    if recipe.demonstrations.source != "hub" and context.dataset_root:
        things[context.dataset_root] = "demonstrations"
    return things
