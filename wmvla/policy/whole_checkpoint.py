"""The one gate before the first episode and step: a checkpoint is whole, or it is refused.

LeRobot fills in what a checkpoint lacks: weights that are missing stay random, keys without
statistics are not normalised, and a camera without images is left out, each with a log line at
most. Whoever loads a checkpoint here, or lets LeRobot load one, does so through this module.
"""

import contextlib
import importlib.util
import io
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from lerobot.configs import FeatureType, NormalizationMode, PolicyFeature, PreTrainedConfig
from lerobot.policies.factory import make_policy, make_pre_post_processors
from lerobot.policies.pretrained import PreTrainedPolicy
from lerobot.processor import (
    NormalizerProcessorStep,
    PolicyProcessorPipeline,
    UnnormalizerProcessorStep,
)
from lerobot.utils.constants import ACTION
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from wmvla.errors import UserError, cause
from wmvla.files import why_unreadable
from wmvla.policy.weights import (
    ADAPTER,
    WEIGHTS,
    adapter_base,
    checkpoint_fields,
    checkpoint_folder,
    differences,
    not_its_weights,
    read_json,
    read_weights,
    weight_files,
)

Pipelines = tuple[PolicyProcessorPipeline, PolicyProcessorPipeline]
STATISTICS = {
    NormalizationMode.MEAN_STD: ("mean", "std"),
    NormalizationMode.MIN_MAX: ("min", "max"),
    NormalizationMode.QUANTILES: ("q01", "q99"),
    NormalizationMode.QUANTILE10: ("q10", "q90"),
}
"""What each way to normalise reads."""
PADDED_STATISTICS = ("evo1",)
"""Types whose statistics are padded to the policy's largest state and action."""
PLAYED_WITH_FEWER_CAMERAS = frozenset(
    {"pi0", "pi05", "pi0_fast", "smolvla", "smolvla_world", "wall_x", "xvla"}
)
"""Types that take the images of those of their cameras that there are; seen in LeRobot 0.6.1's
code. The others cannot do without one."""


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

    PreTrainedPolicy.load_state_dict = load_state_dict
    try:
        with (
            as_user_error(folder),
            _in_one_file(folder) as place,
            contextlib.redirect_stdout(io.StringIO()),
        ):
            yield place
    except NotWhole as found:
        raise UserError(str(found)) from None
    finally:
        del PreTrainedPolicy.load_state_dict
    if not loads:
        raise UserError(f"{folder / WEIGHTS}: LeRobot did not load it: fetch it again.")


def check_files(folder: Path) -> None:
    """UserError for files of weights that are not there or cannot be read, and for an adapter that
    cannot be applied here."""
    fields, adapter = checkpoint_fields(folder), folder / ADAPTER
    if adapter.is_file() or fields.get("use_peft"):
        base = adapter_base(folder)
        if importlib.util.find_spec("peft") is None:
            raise UserError(
                f"{adapter}: the checkpoint is an adapter for {base}, which peft applies, and peft"
                " is not installed: install it, or give a checkpoint with the adapter merged."
            )
        if not base:
            raise UserError(
                f"{adapter}: 'base_model_name_or_path' is missing: name the base there."
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
        widths: see ``check_statistics``.

    Raises:
        UserError: they cannot be made, or see ``check_statistics``.
    """
    folder = Path(pretrained_path) if pretrained_path else None
    with as_user_error(folder) if folder else contextlib.nullcontext():
        path = str(folder) if folder else None
        processors = make_pre_post_processors(policy_cfg, path, **how)
    of_data = folder is None or "dataset_stats" in how
    check_statistics(policy_cfg, processors, None if of_data else folder, widths)
    return processors


@contextlib.contextmanager
def gated(script: ModuleType) -> Iterator[None]:
    """Inside the block LeRobot's ``script`` makes its policy and processors through this gate."""
    own = {"make_policy": whole_policy, "make_pre_post_processors": checked_processors}
    stock = {name: getattr(script, name) for name in own}
    for name, made in own.items():
        setattr(script, name, made)
    try:
        yield
    finally:
        for name, made in stock.items():
            setattr(script, name, made)


def check_statistics(
    config: PreTrainedConfig,
    processors: Pipelines,
    folder: Path | None,
    widths: Mapping[str, int] | None = None,
) -> None:
    """Every key that ``processors`` are to normalise for the policy has finite statistics of its
    width, with a spread.

    Args:
        folder: of the checkpoint that they come from; None: they come from a dataset.
        widths: of what the policy will be given and is to answer, by key, where that is known.
            Else those of ``config`` count; not a state's where the policy pads it, for then the
            configuration may say anything.

    Raises:
        UserError: names file, key and what is wrong.
    """
    for name, pipeline in zip(("pre", "post"), processors, strict=True):
        for number, step in enumerate(pipeline.steps):
            if not isinstance(step, NormalizerProcessorStep | UnnormalizerProcessorStep):
                continue
            file = _state_file(folder, f"policy_{name}processor.json", number)
            statistics: dict[str, dict[str, Tensor]] = {}
            for full, value in step.state_dict().items():
                key, _, statistic = full.rpartition(".")
                statistics.setdefault(key, {})[statistic] = value
            for key, feature in _normalised(step, config):
                mode = step.norm_map[feature.type]
                if key != ACTION and key not in step.features:
                    raise UserError(
                        f"{file}: '{key}', which the policy reads, is not normalised there; what"
                        f" is: {', '.join(step.features)}. Write it there under that name."
                    )
                if key not in statistics:
                    there = ", ".join(statistics) or "none"
                    raise UserError(
                        f"{file}: '{key}' has no statistics, which the policy needs"
                        f" ({', '.join(STATISTICS[mode])}); there are: {there}. Write them under"
                        " the policy's names, or fetch the checkpoint again."
                    )
                width = _width(config, key, feature, widths or {})
                if fault := _fault(statistics[key], mode, width):
                    raise UserError(
                        f"{file}: the statistics of '{key}' {fault}: make them again from the data"
                        " that the policy was trained on."
                    )


def _normalised(
    step: NormalizerProcessorStep | UnnormalizerProcessorStep, config: PreTrainedConfig
) -> Iterator[tuple[str, PolicyFeature]]:
    """The keys that a step must normalise: what the policy reads, and its actions."""
    features = dict(step.features)
    if isinstance(step, NormalizerProcessorStep):
        features |= config.input_features or {}
    features |= config.output_features or {}
    for key, feature in features.items():
        chosen = step.normalize_observation_keys
        mode = step.norm_map.get(feature.type, NormalizationMode.IDENTITY)
        if mode is not NormalizationMode.IDENTITY and (
            key == ACTION
            or (isinstance(step, NormalizerProcessorStep) and (chosen is None or key in chosen))
        ):
            yield key, feature


def _width(
    config: PreTrainedConfig, key: str, feature: PolicyFeature, widths: Mapping[str, int]
) -> int | None:
    if config.type in PADDED_STATISTICS:
        return None
    if key not in widths and feature.type is FeatureType.STATE and pads_state(config):
        return None
    return widths.get(key, (feature.shape or (1,))[0])


def pads_state(config: PreTrainedConfig) -> bool:
    """Whether the policy takes a state of any width, whatever its configuration says."""
    return hasattr(config, "max_state_dim")


def _fault(statistics: dict[str, Tensor], mode: NormalizationMode, width: int | None) -> str | None:
    """What is wrong with a key's statistics, as the rest of a sentence.

    Non-obvious: a number that never changed has no spread, and rightly so; that is believed where
    its smallest and largest value say the same.
    """
    low, high = STATISTICS[mode]
    for name in (low, high):
        if name not in statistics:
            return f"lack '{name}'"
        value = statistics[name]
        if not value.isfinite().all():
            return f"are not finite ('{name}')"
        if width is not None and value.numel() != width:
            return f"have {value.numel()} numbers ('{name}'), not {width}"
    spread = statistics[high] if high == "std" else statistics[high] - statistics[low]
    still = spread == 0
    if "min" in statistics and "max" in statistics:
        still = statistics["min"] == statistics["max"]
    if (spread < 0).any() or ((spread == 0) & ~still).any() or (spread == 0).all():
        return f"have no spread ('{low}', '{high}') where their data have one"
    return None


def check_cameras(config: PreTrainedConfig, provided: Mapping[str, str]) -> list[str]:
    """Every camera that the policy reads gets an image, by name.

    Args:
        provided: an image's name in the data -> the name under which the policy is given it.

    Returns:
        the cameras that stay without an image, because there are no more images and the policy can
        do without: to be told.

    Raises:
        UserError: two images have one name, or a camera stays without one.
    """
    names = list(provided.values())
    if twice := [name for name in names if names.count(name) > 1]:
        both = " and ".join(data for data, name in provided.items() if name == twice[0])
        raise UserError(
            f"--rename_map: {both} would both be {twice[0]}: give every image a name of its own."
        )
    empty = getattr(config, "empty_cameras", 0)
    padding = {f"observation.images.empty_camera_{number}" for number in range(empty)}
    lacking = [key for key in config.image_features if key not in names and key not in padding]
    unused = [data for data, name in provided.items() if name not in config.image_features]
    if lacking and unused:
        fits = {data: name for data, name in provided.items() if data not in unused}
        fits |= dict(zip(unused, lacking, strict=False))
        raise UserError(
            f"{config.pretrained_path} reads {', '.join(lacking)}, which get no image, while"
            f" {', '.join(unused)} would be left out: give --rename_map="
            f"'{json.dumps(fits)}' or what else is right."
        )
    if lacking and config.type not in PLAYED_WITH_FEWER_CAMERAS:
        raise UserError(
            f"{config.pretrained_path} reads {', '.join(lacking)}, and there are only"
            f" {', '.join(names)}: a {config.type} cannot do without one of its cameras."
        )
    return lacking


def _state_file(folder: Path | None, name: str, number: int) -> str:
    """Where the statistics of a processor's step lie."""
    if folder is None:
        return "meta/stats.json of the dataset"
    steps = read_json(folder / name).get("steps", []) if (folder / name).is_file() else []
    return str(folder / (steps[number].get("state_file", name) if number < len(steps) else name))


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
