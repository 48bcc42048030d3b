"""Checkpoints as files: where one lies, and its weights, loaded strictly."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from lerobot.policies.pretrained import PreTrainedPolicy
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from wmvla.errors import UserError
from wmvla.files import read_object, why_unreadable

WEIGHTS = "model.safetensors"
INDEX = f"{WEIGHTS}.index.json"
"""Names the files where the weights lie in several."""
ADAPTER = "adapter_config.json"
"""What peft writes beside the weights of an adapter; it names the base that they were made for."""


def checkpoint_folder(source: str | Path, revision: str | None = None) -> Path:
    """The local folder of a checkpoint: ``source`` itself, or the downloaded files of the hub id
    that it is.

    Args:
        revision: branch, tag or commit of a hub id; None for its newest.

    Raises:
        UserError: neither; a folder without a ``config.json`` that can be read; a revision of a
        folder.
    """
    folder = Path(source)
    if folder.is_dir() and revision and commit_of(folder) != revision:
        raise UserError(
            f"--policy.pretrained_revision={revision}: {source} is a folder, which has no"
            " revisions: give a hub id, or leave the flag out."
        )
    if not folder.is_dir():
        try:
            folder = Path(
                snapshot_download(
                    str(source),
                    revision=revision,
                    allow_patterns=["*.json", "*.safetensors"],
                    local_files_only=constants.HF_HUB_OFFLINE,
                )
            )
        except (HfHubHTTPError, HFValidationError, OSError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"{source}{f' at {revision}' if revision else ''} is neither a checkpoint folder"
                f" nor a hub id that can be read ({reason})"
            ) from error
    if not (folder / "config.json").is_file():
        inner = next(iter(folder.glob("**/pretrained_model/config.json")), None)
        hint = (
            f"give {inner.parent}"
            if inner
            else "give a folder that LeRobot saved (pretrained_model)"
        )
        if (folder / ADAPTER).is_file():
            hint = f"it is an adapter: give its base {adapter_base(folder)} with the adapter merged"
        raise UserError(f"{folder} has no config.json, so it is not a checkpoint: {hint}.")
    checkpoint_fields(folder)
    return folder


def commit_of(folder: Path) -> str | None:
    """The commit of a folder in the hub's cache; None elsewhere."""
    return folder.name if folder.parent.name == "snapshots" else None


def checkpoint_fields(folder: Path) -> dict[str, Any]:
    """``config.json`` as it stands."""
    return read_object(folder / "config.json")


def adapter_base(folder: Path) -> str | None:
    """The base that an adapter of peft was made for."""
    return read_object(folder / ADAPTER).get("base_model_name_or_path")


def load_weights(
    policy: PreTrainedPolicy,
    file: Path,
    may_lack: Callable[[str], bool] = lambda key: False,
    strict: bool = True,
) -> tuple[list[str], list[str]]:
    """Fill ``policy`` from a safetensors file, or from the several that an index beside it names.

    ``may_lack``: whether the file may lack a weight of this name. ``strict``: False leaves weights
    that the file lacks as they are and ignores unknown ones; shapes must be equal even so.

    UserError: missing or damaged file; keys missing or too many; another shape or type; a weight
    that is not finite.
    """
    loaded = read_weights(file)
    missing, unknown, unlike = differences(policy, loaded)
    refused = [key for key in missing if not may_lack(key)] if strict else []
    if unlike or refused or (unknown and strict):
        raise UserError(not_its_weights(file, refused, unknown if strict else [], unlike))
    # past what ``wmvla.policy.whole_checkpoint`` puts in its way: more may be missing here
    (nn.Module if missing or unknown else type(policy)).load_state_dict(
        policy, loaded, strict=False
    )
    return missing, unknown


def differences(
    policy: nn.Module, loaded: dict[str, Tensor]
) -> tuple[list[str], list[str], list[str]]:
    """Names of the policy's weights that ``loaded`` lacks, of those that it has and the policy has
    not, and what is wrong with those that both have: shape, type, numbers."""
    own = policy.state_dict()
    # safetensors stores tied weights once, under one of their names
    storages = {own[key].data_ptr() for key in loaded if key in own}
    missing = [key for key in own if key not in loaded and own[key].data_ptr() not in storages]
    unknown = [key for key in loaded if key not in own]
    trained = {key for key, _ in policy.named_parameters(remove_duplicate=False)}
    unlike = [
        f"{key} {fault}"
        for key, value in loaded.items()
        if key in own and (fault := _fault(own[key], value, key in trained))
    ]
    return missing, unknown, unlike


def _fault(own: Tensor, value: Tensor, trained: bool) -> str | None:
    """What is wrong with a weight, as the rest of a sentence.

    Non-obvious: a buffer may hold what is not finite, as a mask or until statistics are known. A
    sum that is finite says that all are, at a tenth of the price of looking at each.
    """
    if own.shape != value.shape:
        return f"is {tuple(value.shape)}, in the policy {tuple(own.shape)}"
    if own.is_floating_point() != value.is_floating_point():
        return f"is of {value.dtype}, in the policy of {own.dtype}".replace("torch.", "")
    if trained and value.is_floating_point() and not value.sum(dtype=torch.float32).isfinite():
        return None if value.isfinite().all() else "is not finite"
    return None


def not_its_weights(file: Path, missing: list[str], unknown: list[str], unlike: list[str]) -> str:
    """One sentence about a file of weights that are not the policy's, with names and counts."""
    if unlike:
        return (
            f"{file} has other weights than the policy can have: {_counted(unlike)}. It is the"
            " checkpoint of another model, or damaged: fetch it again."
        )
    lacks = [f"lacks {_counted(missing)}"] if missing else []
    has = [f"has, and the policy has not, {_counted(unknown)}"] if unknown else []
    prefix = unknown[0].split(".")[0] if unknown else ""
    fix = "It is the checkpoint of another model, or was not saved whole: save it again."
    if missing and {f"{prefix}.{key}" for key in missing} <= set(unknown):
        fix = f"Its names begin with '{prefix}.': save the model inside that wrapper."
    return f"{file} {' and '.join(lacks + has)}. {fix}"


def _counted(names: list[str]) -> str:
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def weight_files(file: Path) -> Collection[Path]:
    """The files that hold the weights: ``file``, or where it does not exist those that the index
    beside it names."""
    index = file.with_name(INDEX)
    if file.is_file() or not index.is_file():
        return [file]
    names = read_object(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise UserError(f"{index} has no 'weight_map': fetch it again.")
    return [file.with_name(name) for name in sorted(set(names.values()))]


def read_weights(file: Path) -> dict[str, Tensor]:
    """Every weight in ``weight_files(file)``. UserError for a missing or damaged file."""
    loaded: dict[str, Tensor] = {}
    for part in weight_files(file):
        loaded |= read_tensors(part)
    return loaded


def read_tensors(file: Path) -> dict[str, Tensor]:
    """What a safetensors file holds. UserError for a missing or damaged one."""
    if not file.is_file():
        raise UserError(f"{file} does not exist: {file.parent} is not a finished checkpoint.")
    try:
        return load_file(file)
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(why_unreadable(file, error)) from error
