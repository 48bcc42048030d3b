"""Whether the statistics that a policy's processors normalise with are there, and sound."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from lerobot.configs import FeatureType, NormalizationMode, PolicyFeature, PreTrainedConfig
from lerobot.processor import (
    NormalizerProcessorStep,
    PolicyProcessorPipeline,
    UnnormalizerProcessorStep,
)
from lerobot.utils.constants import ACTION
from torch import Tensor

from wmvla.errors import UserError
from wmvla.files import read_object

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
OWN_WAYS = ("lingbot_va",)
"""Types whose processors normalise in another way than their configuration says."""
LARGEST_EPSILON = 1e-2
"""What is added to a spread against division by 0 is small."""


def check_statistics(
    config: PreTrainedConfig,
    processors: Pipelines,
    folder: Path | None,
    widths: Mapping[str, int] | None = None,
) -> None:
    """Every key that ``processors`` are to normalise for the policy has finite statistics of its
    width, with a spread; both normalise as the configuration says, with the same statistics.

    Args:
        folder: of the checkpoint that they come from; None: they come from a dataset.
        widths: of what the policy will be given and is to answer, by key, where that is known.
            Else those of ``config`` count; not a state's where the policy pads it, for then the
            configuration may say anything.

    Raises:
        UserError: names file, key and what is wrong.
    """
    known: dict[str, tuple[str, Tensor]] = {}
    for name, pipeline in zip(("pre", "post"), processors, strict=True):
        for number, step in enumerate(pipeline.steps):
            if not isinstance(step, NormalizerProcessorStep | UnnormalizerProcessorStep):
                continue
            file = _state_file(folder, f"policy_{name}processor.json", number)
            if folder is not None and (fault := _contradiction(step, config)):
                raise UserError(
                    f"{folder / f'policy_{name}processor.json'}: {fault}: fetch the checkpoint"
                    " again."
                )
            statistics: dict[str, dict[str, Tensor]] = {}
            for full, value in step.state_dict().items():
                where, other = known.setdefault(full, (file, value))
                if other.numpy().tobytes() != value.numpy().tobytes():
                    raise UserError(
                        f"{file}: the statistics '{full}' are others than in {Path(where).name}:"
                        " fetch the checkpoint again."
                    )
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


def _contradiction(
    step: NormalizerProcessorStep | UnnormalizerProcessorStep, config: PreTrainedConfig
) -> str | None:
    """What a step of a checkpoint does in another way than the configuration beside it says."""
    if not 0 <= step.eps <= LARGEST_EPSILON:
        return f"'eps' is {step.eps}, not a small number"
    features = config.output_features or {}
    if isinstance(step, NormalizerProcessorStep):
        features = {**features, **(config.input_features or {})}
    for key, feature in features.items():
        if key in step.features and step.features[key].type is not feature.type:
            there = step.features[key].type.value
            return f"'{key}' is {there} there, and {feature.type.value} in config.json"
        asked, done = (
            (ways or {}).get(feature.type, NormalizationMode.IDENTITY)
            for ways in (config.normalization_mapping, step.norm_map)
        )
        if asked is not done and config.type not in OWN_WAYS:
            return f"'norm_map' has {done.value} for {key}, and config.json has {asked.value}"
    return None


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


def _state_file(folder: Path | None, name: str, number: int) -> str:
    """Where the statistics of a processor's step lie."""
    if folder is None:
        return "meta/stats.json of the dataset"
    steps = read_object(folder / name).get("steps", []) if (folder / name).is_file() else []
    return str(folder / (steps[number].get("state_file", name) if number < len(steps) else name))
