"""What an evaluation's episodes depend on, kept beside them: one evaluation a directory."""

import hashlib
import json
import os
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import draccus

from wmvla.commands.evaluation.flags import EvalConfig
from wmvla.commands.evaluation.table import WITHOUT_EFFECT
from wmvla.errors import UserError
from wmvla.files import sha256_of_file, write_json
from wmvla.policy.weights import commit_of

Settings = dict[str, Any]

FILE = "eval_settings.json"
UNREAD = ("train_config.json",)
"""Files of a checkpoint that no evaluation reads."""


def settings_of(config: EvalConfig, checkpoint: Path) -> Settings:
    """All that decides what an episode shows and how it ends, but not their number or players."""
    policy, env = draccus.encode(config.policy), draccus.encode(config.env)
    policy.pop("pretrained_path", None)
    for name in WITHOUT_EFFECT:
        env.pop(name)
    settings = {
        "checkpoint": checkpoint_hash(checkpoint),
        "checkpoint_commit": commit_of(checkpoint),
        "deterministic": config.deterministic,
        "env": env,
        "packages": {name: version(name) for name in ("lerobot", "mujoco", "torch")},
        "policy": policy,
        "rename_map": config.rename_map,
        "renderer": os.environ.get("MUJOCO_GL"),
        "seed": config.seed,
    }
    return json.loads(json.dumps(settings))


def checkpoint_hash(folder: Path) -> str:
    """Hash of the configuration, weights and processors in ``folder``."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("[!.]*")):
        if path.suffix in (".json", ".safetensors") and path.name not in UNREAD:
            digest.update(f"{path.name} {sha256_of_file(path)}\n".encode())
    return digest.hexdigest()[:16]


def keep_settings(directory: Path, settings: Settings, may_replace: bool = False) -> None:
    """Write ``eval_settings.json`` into ``directory``, or compare with the one there, which counts
    unless ``may_replace``. UserError: the directory holds the episodes of another evaluation; names
    the first setting that differs."""
    file = directory / FILE
    if may_replace or not file.exists():
        text = json.dumps(settings, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        write_json(file, {"hash": digest, "settings": settings})
        return
    try:
        there = json.loads(file.read_text())["settings"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise UserError(f"{file} is damaged: give another --output_dir.") from error
    for key, old, new in _differences(there, settings, ""):
        raise UserError(
            f"{directory} holds the episodes of another evaluation ({key} was {old}, now {new}):"
            " give another --output_dir."
        )


def _differences(old: Any, new: Any, key: str) -> Iterator[tuple[str, str, str]]:
    """Dotted key, old and new value of every difference."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted({*old, *new}):
            yield from _differences(old.get(name), new.get(name), f"{key}.{name}".lstrip("."))
    elif old != new:
        yield key, json.dumps(old), json.dumps(new)
