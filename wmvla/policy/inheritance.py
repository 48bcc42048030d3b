"""What a policy's configuration takes over from the SmolVLA checkpoint that it starts from."""

from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

from draccus.utils import DecodingError
from lerobot.configs import FeatureType, PolicyFeature, PreTrainedConfig, parser
from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig

from wmvla.errors import UserError
from wmvla.files import read_object, temporary_files_removed
from wmvla.policy.weights import checkpoint_fields, checkpoint_folder

OF_THE_RUN = frozenset(
    [
        "device",
        "use_amp",
        "use_peft",
        "push_to_hub",
        "repo_id",
        "private",
        "tags",
        "license",
        "pretrained_path",
        "pretrained_revision",
    ]
)
"""SmolVLA's fields that say where and how to run, not what the model is."""

SHAPES = frozenset(
    [
        "max_state_dim",
        "max_action_dim",
        "num_vlm_layers",
        "num_expert_layers",
        "self_attn_every_n_layers",
        "expert_width_multiplier",
        "attention_mode",
    ]
)
"""SmolVLA's fields that decide which weights exist and how large they are.

``vlm_model_name`` may be another place of the same model; shapes are compared on loading.
"""


def inherit(config: SmolVLAConfig, source: str, rename_map: dict[str, str]) -> None:
    """Give the fields of SmolVLA that were left at their defaults the values of the checkpoint
    ``source``, and images the data's names (``rename_map``: data's -> checkpoint's).

    Non-obvious: like LeRobot's own configurations this reads the command line again, because a flag
    whose value happens to be SmolVLA's default cannot be known from one that was not given.

    UserError: no SmolVLA checkpoint; a field that changes the weights' shapes was set.
    """
    folder = checkpoint_folder(source)
    plain = smolvla_config(folder)
    flags = parser.get_cli_overrides("policy") or []
    given = {flag.removeprefix("--").split("=")[0] for flag in flags}
    for field in fields(SmolVLAConfig):
        inherited, current = getattr(plain, field.name), getattr(config, field.name)
        if field.name in OF_THE_RUN or current == inherited:
            continue
        if field.name not in given and current == _default(field):
            setattr(config, field.name, inherited)
        elif field.name in SHAPES:
            raise UserError(
                f"policy.{field.name} = {current} cannot be set: the weights of {source} were made"
                f" with {inherited}."
            )
    if config.input_features:
        names = data_names(folder, rename_map)
        config.input_features = rename_features(config.input_features, names)


def smolvla_config(folder: Path) -> SmolVLAConfig:
    """The configuration of a SmolVLA checkpoint. UserError: the checkpoint of another policy; a
    field that this LeRobot does not know."""
    kind = checkpoint_fields(folder).get("type")
    if kind == "smolvla_world":
        raise UserError(
            f"{folder} is a smolvla_world checkpoint already: give it as --policy.path."
        )
    if kind != "smolvla":
        raise UserError(
            f"{folder} is a {kind} checkpoint: world parts can be added to a smolvla only."
        )
    try:
        with temporary_files_removed():
            return PreTrainedConfig.from_pretrained(folder)
    except DecodingError as error:
        file = folder / "config.json"
        raise UserError(f"{file} does not fit this LeRobot's SmolVLA: {error}") from error


def data_names(folder: Path, rename_map: dict[str, str]) -> dict[str, str]:
    """Names that the checkpoint gives to its images -> names that they have in the data.

    Non-obvious: LeRobot overwrites the rename map that a checkpoint's processors carry, at every
    evaluation and every fine-tuning, with that of the command line. So the map is not kept as a
    map: the new policy asks for the data's own names. SmolVLA knows its cameras by their order
    alone.

    ``rename_map`` (data's name -> checkpoint's name) comes on top of the one in the checkpoint.
    """
    images = _images(folder)
    for name in rename_map.values():
        if name not in images:
            raise UserError(
                f"rename_map renames to {name}, which is not an image of {folder}; its images are "
                f"{', '.join(images)}."
            )
    renames = {**own_rename_map(folder), **rename_map}
    return {name: data for data, name in renames.items() if name in images}


def rename_features(
    features: dict[str, PolicyFeature], names: dict[str, str]
) -> dict[str, PolicyFeature]:
    """``features`` in their order, under new names."""
    renamed = {names.get(name, name): feature for name, feature in features.items()}
    if len(renamed) != len(features):
        raise UserError(
            f"rename_map gives two features the same name: {', '.join(names.values())}."
        )
    return renamed


def own_rename_map(folder: Path) -> dict[str, str]:
    """The rename map that the checkpoint's preprocessor carries."""
    file = folder / "policy_preprocessor.json"
    if not file.is_file():
        raise UserError(
            f"{folder} has no {file.name}: a checkpoint from before LeRobot had processors; "
            "convert it with python -m lerobot.processor.migrate_policy_normalization."
        )
    steps = read_object(file).get("steps", [])
    maps = [
        step["config"]["rename_map"]
        for step in steps
        if step.get("registry_name") == "rename_observations_processor"
    ]
    return maps[0] if maps else {}


def _images(folder: Path) -> list[str]:
    features = checkpoint_fields(folder).get("input_features") or {}
    visual = FeatureType.VISUAL.value
    return [name for name, feature in features.items() if feature["type"] == visual]


def _default(field: "Field[Any]") -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()
