"""What a plan needs that this machine may lack: a GPU, and files of the hub. Looks at local folders only."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from bench import hardware
from bench.machine import detect_accelerator, detect_machine
from bench.plan import Plan
from bench.ranks import trains
from wmvla.errors import UserError

WEIGHTS = ("config.json", "model.safetensors")


def missing_for(plan: Plan, cases: Sequence[str] = ()) -> list[str]:
    """One sentence for each thing that the plan, or those cases of it, need and that is not here, with how to get it.

    [] if all is here.
    """
    return [*_missing_gpu(plan, cases), *_missing_dataset(plan), *_missing_base(plan), *_missing_encoder(plan)]


def require(plan: Plan, cases: Sequence[str] = ()) -> None:
    """UserError naming everything that `missing_for` finds."""
    missing = missing_for(plan, cases)
    if missing:
        raise UserError(f"scale '{plan.scale}' cannot run here: {'; '.join(missing)}")


def _missing_gpu(plan: Plan, cases: Sequence[str]) -> list[str]:
    machine = plan.machine
    if machine.accelerator == "cpu" and not plan.requires_gpu:
        return []
    found = detect_accelerator()
    if machine.accelerator == "cpu":
        seen = "none was found" if found == "cpu" else f"MACHINE={detect_machine()} was found"
        return [f"a GPU is needed, and machine '{machine.name}' has none ({seen})"]
    if machine.accelerator != found:
        return [f"machine '{machine.name}' has a {machine.accelerator} GPU, and none was found"]
    visible = len(hardware.torch_build()["devices"])
    trained = any(trains(plan, case) for case in plan.cases if not cases or case.id in cases)
    if trained and visible < machine.processes_per_node:
        each = " of each node" if machine.nodes > 1 else ""
        return [f"machine '{machine.name}' trains on {machine.processes_per_node} GPUs{each}; visible: {visible}"]
    return []


def _missing_dataset(plan: Plan) -> list[str]:
    demonstrations = plan.recipe.demonstrations
    if demonstrations.source != "hub":
        return []
    from huggingface_hub.constants import HF_HOME

    repo_id = demonstrations.repo_id
    home = Path(os.environ.get("HF_LEROBOT_HOME", Path(HF_HOME) / "lerobot")).expanduser()
    if (home / repo_id / "meta" / "info.json").is_file():
        return []
    if _cached(repo_id, "meta/info.json", repo_type="dataset", cache=home / "hub"):
        return []
    get = f"hf download {repo_id} --repo-type dataset --local-dir {home / repo_id}"
    return [f"dataset {repo_id} is not in {home} ({get})"]


def _missing_base(plan: Plan) -> list[str]:
    base = plan.recipe.base
    if base.source != "hub":
        return []
    missing = _missing_weights("checkpoint", base.checkpoint)
    if missing:
        return missing
    vlm = json.loads(_locate(base.checkpoint, "config.json").read_text()).get("vlm_model_name")
    return _missing_weights("vision-language model", vlm) if vlm else []


def _missing_encoder(plan: Plan) -> list[str]:
    uses_world = any(arm.policy == "smolvla_world" for arm in plan.arms.values())
    if plan.recipe.world.encoder == "tiny" or not uses_world:
        return []
    return _missing_weights("world encoder", plan.recipe.world.encoder)


def _missing_weights(what: str, name: str) -> list[str]:
    """`name` is a folder or a hub id. A sharded model has an index in place of its single file of weights."""
    if all(_locate(name, file).is_file() for file in WEIGHTS):
        return []
    if _locate(name, "config.json").is_file() and _locate(name, "model.safetensors.index.json").is_file():
        return []
    return [f"{what} {name} is neither a folder nor in the hub cache (hf download {name})"]


def _locate(name: str, file: str) -> Path:
    """Where a file of a model lies; a path that does not exist where it is nowhere."""
    if Path(name).is_dir():
        return Path(name) / file
    return _cached(name, file) or Path(name) / file


def _cached(repo_id: str, file: str, repo_type: str = "model", cache: Path | None = None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repo_id, file, cache_dir=cache, repo_type=repo_type)
    return Path(found) if isinstance(found, str) else None
