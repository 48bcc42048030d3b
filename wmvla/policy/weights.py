"""Checkpoints as files: where one lies, and its weights, loaded strictly."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from lerobot.policies.pretrained import PreTrainedPolicy
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from wmvla.errors import UserError

WEIGHTS = "model.safetensors"


def checkpoint_folder(source: str | Path) -> Path:
    """The local folder of a checkpoint: ``source`` itself, or the downloaded files of that hub id.
    UserError: neither; or a folder without ``config.json``."""
    folder = Path(source)
    if not folder.is_dir():
        try:
            files = ["*.json", "*.safetensors"]
            folder = Path(snapshot_download(str(source), allow_patterns=files))
        except (HfHubHTTPError, HFValidationError, OSError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"{source} is neither a checkpoint folder nor a hub id that can be read ({reason})"
            ) from error
    if not (folder / "config.json").is_file():
        inner = next(iter(folder.glob("**/pretrained_model/config.json")), None)
        place = inner.parent if inner else "a folder that LeRobot saved (pretrained_model)"
        hint = f"give {place}"
        raise UserError(f"{folder} has no config.json, so it is not a checkpoint: {hint}.")
    return folder


def checkpoint_fields(folder: Path) -> dict[str, Any]:
    """``config.json`` as it stands."""
    file = folder / "config.json"
    try:
        fields = json.loads(file.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise UserError(f"{file} cannot be read ({error}).") from error
    if not isinstance(fields, dict):
        raise UserError(f"{file} is not a JSON object.")
    return fields


def load_weights(
    policy: PreTrainedPolicy,
    file: Path,
    may_lack: Callable[[str], bool] = lambda key: False,
    strict: bool = True,
) -> tuple[list[str], list[str]]:
    """Fill ``policy`` from a safetensors file: the policy's weights that the file lacks, and the
    file's that the policy does not have.

    ``may_lack``: whether the file may lack a weight of this name. ``strict``: False leaves weights
    that the file lacks as they are and ignores unknown ones; shapes must be equal even so.

    UserError: missing or damaged file; keys missing or too many; another shape.
    """
    loaded = _read(file)
    own = policy.state_dict()
    for key, value in loaded.items():
        if key in own and own[key].shape != value.shape:
            shapes = f"{key} is {tuple(value.shape)}, in the policy {tuple(own[key].shape)}"
            raise UserError(
                f"{file} has different shapes from the policy: {shapes}. It is the checkpoint of "
                "another model."
            )
    # safetensors stores tied weights once, under one of their names
    storages = {own[key].data_ptr() for key in loaded if key in own}
    missing = [key for key in own if key not in loaded and own[key].data_ptr() not in storages]
    unknown = [key for key in loaded if key not in own]
    refused = [key for key in missing if not may_lack(key)]
    for keys, what in ((refused, "lacks"), (unknown, "has, and the policy has not,")):
        if keys and strict:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise UserError(
                f"{file} {what} {keys[0]}{more}. It is the checkpoint of another model."
            )
    policy.load_state_dict(loaded, strict=False)
    return missing, unknown


def _read(file: Path) -> dict[str, Tensor]:
    if not file.is_file():
        raise UserError(f"{file} does not exist: {file.parent} is not a finished checkpoint.")
    try:
        return load_file(file)
    except SafetensorError as error:
        raise UserError(
            f"{file} is damaged ({error}): copy or make the checkpoint again."
        ) from error
