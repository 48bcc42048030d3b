"""The one way in which a checkpoint is loaded before a first episode or step: whole, or not at all.

LeRobot fills in what a checkpoint lacks: weights that are missing stay random, keys without
statistics are not normalised, and a camera without images is left out, each with a log line at
most. Whoever loads a checkpoint here, or lets LeRobot load one, does so through this module.
"""

import contextlib
import dataclasses
import importlib.util
import io
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

from lerobot.configs import PreTrainedConfig
from lerobot.policies.factory import make_policy, make_pre_post_processors
from lerobot.policies.pretrained import PreTrainedPolicy
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from wmvla.errors import UserError, cause
from wmvla.files import read_object, why_unreadable
from wmvla.policy.normalisation import Pipelines, check_statistics
from wmvla.policy.vlm_files import check_tokens, check_vlm
from wmvla.policy.weights import (
    ADAPTER,
    WEIGHTS,
    adapter_base,
    checkpoint_fields,
    checkpoint_folder,
    differences,
    not_its_weights,
    read_weights,
    weight_files,
)

MOST_STEPS = 1000
"""Of the solver that makes actions of noise, and of a chunk's actions."""

NEEDED_STEPS = {
    "policy_preprocessor.json": (
        "smolvla_new_line_processor",
        "tokenizer_processor",
        "normalizer_processor",
    ),
    "policy_postprocessor.json": ("unnormalizer_processor",),
}
"""Steps of SmolVLA's processors without which it answers otherwise than it was trained to."""


class NotWhole(BaseException):
    """Weights are missing, too many, or of another shape.

    Non-obvious: no ``Exception``, because LeRobot's pi0 catches those, and plays on with random
    weights.
    """


@contextlib.contextmanager
def whole_weights(folder: Path) -> Iterator[Path]:
    """Inside the block LeRobot may load the policy in ``folder`` from the folder that is yielded,
    by its own code, which for some types renames weights; it must load it.

    Raises:
        UserError: a file is missing or damaged; weights are missing, too many or of another shape.
    """
    check_files(folder)
    stock, loads = nn.Module.load_state_dict, 0

    def load_state_dict(
        policy: nn.Module, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        nonlocal loads
        loads += 1
        faults = differences(policy, dict(state_dict))
        if any(faults):
            raise NotWhole(not_its_weights(folder / WEIGHTS, *faults))
        return stock(policy, state_dict, *args, **{**kwargs, "strict": False})

    try:
        with (
            mock.patch.object(PreTrainedPolicy, "load_state_dict", load_state_dict),
            as_user_error(folder),
            _in_one_file(folder) as place,
            contextlib.redirect_stdout(io.StringIO()),
        ):
            yield place
    except NotWhole as found:
        raise UserError(str(found)) from None
    if not loads:
        raise UserError(f"{folder / WEIGHTS}: LeRobot did not load it: fetch it again.")


def check_files(folder: Path) -> None:
    """UserError for files of weights that are not there or cannot be read, and for an adapter that
    cannot be applied here."""
    fields, adapter = checkpoint_fields(folder), folder / ADAPTER
    if str(fields.get("type")).startswith("smolvla") and "vlm_model_name" in fields:
        check_vlm(fields["vlm_model_name"])
    _check_numbers(folder / "config.json", fields)
    if adapter.is_file() or fields.get("use_peft"):
        base = adapter_base(folder)
        if not base:
            raise UserError(
                f"{adapter}: 'base_model_name_or_path' is missing: name the base there."
            )
        if importlib.util.find_spec("peft") is None:
            raise UserError(
                f"{adapter}: the checkpoint is an adapter for {base}, which peft applies, and peft"
                " is not installed: install it, or give a checkpoint with the adapter merged."
            )
        return check_files(checkpoint_folder(base))
    for file in weight_files(folder / WEIGHTS):
        if not file.is_file():
            raise UserError(f"{file} does not exist: {folder} is not a finished checkpoint.")
        try:
            with safe_open(file, framework="pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise UserError(why_unreadable(file, error)) from error


def _check_numbers(file: Path, fields: Mapping[str, Any]) -> None:
    """UserError for numbers with which a policy would answer, but never, or not by its weights."""
    counts = ("num_steps", "num_inference_steps", "chunk_size", "n_action_steps")
    for key in counts:
        value = fields.get(key)
        if value is not None and not (type(value) is int and 1 <= value <= MOST_STEPS):
            raise UserError(
                f"{file}: '{key}' is {value}, not a number from 1 to {MOST_STEPS}: correct it."
            )
    kind = fields.get("type")
    if isinstance(kind, str) and kind in PreTrainedConfig.get_known_choices():
        for field in dataclasses.fields(PreTrainedConfig.get_choice_class(kind)):
            value = fields.get(field.name)
            number = field.type in (int, float) and not isinstance(field.default, bool)  # as ACT's
            if number and isinstance(value, bool):
                raise UserError(f"{file}: '{field.name}' is {value}, not a number: correct it.")
    low, high = fields.get("min_period", 0.004), fields.get("max_period", 4.0)
    if all(isinstance(one, int | float) for one in (low, high)) and not 0 < low < high:
        raise UserError(
            f"{file}: 'min_period' is {low} and 'max_period' is {high}: both must be above 0, and"
            " the second the greater one."
        )


@contextlib.contextmanager
def _in_one_file(folder: Path) -> Iterator[Path]:
    """The folder itself, or one for as long as the block runs in which weights that lie in several
    files are one: LeRobot reads no others."""
    parts = weight_files(folder / WEIGHTS)
    if len(parts) == 1 or (folder / ADAPTER).is_file():
        yield folder
        return
    with tempfile.TemporaryDirectory() as place:
        for file in folder.iterdir():
            if file not in parts:
                (Path(place) / file.name).symlink_to(file.resolve())
        save_file(read_weights(folder / WEIGHTS), Path(place) / WEIGHTS)
        yield Path(place)


def whole_policy(cfg: PreTrainedConfig, **how: Any) -> PreTrainedPolicy:
    """LeRobot's ``make_policy``, strictly: a policy with exactly the weights of its checkpoint."""
    if cfg.pretrained_path is None:
        return make_policy(cfg, **how)
    path = Path(cfg.pretrained_path)  # a folder's own configuration may name its base's revision
    folder = checkpoint_folder(path, None if path.is_dir() else cfg.pretrained_revision)
    with whole_weights(folder) as place:
        cfg.pretrained_path = place
        policy = make_policy(cfg, **how)
    cfg.pretrained_path = folder
    return policy


def checked_processors(
    policy_cfg: PreTrainedConfig,
    pretrained_path: str | Path | None = None,
    widths: Mapping[str, int] | None = None,
    **how: Any,
) -> Pipelines:
    """LeRobot's ``make_pre_post_processors``, with statistics for all that is to be normalised.

    Args:
        widths: see ``wmvla.policy.normalisation.check_statistics``.

    Raises:
        UserError: they cannot be made, or see ``wmvla.policy.normalisation.check_statistics``.
    """
    folder = Path(pretrained_path) if pretrained_path else None
    if folder:
        _check_pipelines(folder, how.get("preprocessor_overrides", {}))
    with as_user_error(folder) if folder else contextlib.nullcontext():
        path = str(folder) if folder else None
        processors = make_pre_post_processors(policy_cfg, path, **how)
    of_data = folder is None or "dataset_stats" in how
    check_statistics(policy_cfg, processors, None if of_data else folder, widths)
    return processors


def _check_pipelines(folder: Path, overrides: Mapping[str, Any]) -> None:
    """UserError for files of processors that are not sound before LeRobot reads them."""
    given = overrides.get("tokenizer_processor", {})
    for name in NEEDED_STEPS:
        if not (folder / name).is_file():
            continue
        steps = read_object(folder / name).get("steps")
        if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
            raise UserError(f"{folder / name}: 'steps' is no list of steps: fetch it again.")
        there = [step.get("registry_name") for step in steps]
        lacking = [step for step in NEEDED_STEPS[name] if step not in there]
        if lacking and str(checkpoint_fields(folder).get("type")).startswith("smolvla"):
            raise UserError(f"{folder / name}: the step {lacking[0]} is missing: fetch it again.")
        for step in steps:
            config = step.get("config") or {}
            if not isinstance(config, dict):
                raise UserError(
                    f"{folder / name}: 'config' of {step.get('registry_name')} is {config}: fetch"
                    " it again."
                )
            config = {**config, **given}
            if step.get("registry_name") == "tokenizer_processor" and "tokenizer_name" in config:
                check_tokens(config["tokenizer_name"])


@contextlib.contextmanager
def strictly_loading(
    script: ModuleType, check: Callable[[Pipelines, Path], None] | None = None
) -> Iterator[None]:
    """Inside the block LeRobot's ``script`` makes its policy and processors through this module;
    ``check`` is asked about those of a checkpoint."""

    def processors(
        policy_cfg: PreTrainedConfig, pretrained_path: str | Path | None = None, **how: Any
    ) -> Pipelines:
        made = checked_processors(policy_cfg, pretrained_path, **how)
        if check is not None and pretrained_path is not None:
            check(made, Path(pretrained_path))
        return made

    with mock.patch.multiple(script, make_policy=whole_policy, make_pre_post_processors=processors):
        yield


@contextlib.contextmanager
def as_user_error(folder: Path) -> Iterator[None]:
    """Whatever LeRobot and the libraries below it raise while they load the checkpoint ``folder``
    becomes one sentence with the innermost cause, or with the Git LFS pointer that it is."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = cause(error)
        for file in sorted([*folder.glob("*.json"), *folder.glob("*.safetensors")]):
            if "Git LFS" in (found := why_unreadable(file, error)):
                reason = found
        raise UserError(f"{folder} cannot be loaded: {reason}") from error
