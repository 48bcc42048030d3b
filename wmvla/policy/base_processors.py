"""The pre- and post-processor that a policy takes over from a checkpoint."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lerobot.configs import PreTrainedConfig
from lerobot.processor import NormalizerProcessorStep
from lerobot.processor.rename_processor import rename_stats

from wmvla.policy.inheritance import data_names, own_rename_map, rename_features, smolvla_config
from wmvla.policy.normalisation import Pipelines
from wmvla.policy.weights import checkpoint_folder
from wmvla.policy.whole_checkpoint import checked_processors


def load_processors(
    config: PreTrainedConfig,
    checkpoint: Path,
    overrides: dict[str, Any] | None = None,
    widths: Mapping[str, int] | None = None,
) -> Pipelines:
    """The checkpoint's own pre- and post-processor, on the policy's device instead of the one that
    trained it.

    Args:
        overrides: fields of the preprocessor's steps, by the steps' names.
        widths: see ``wmvla.policy.normalisation.check_statistics``.
    """
    moved = {"device_processor": {"device": config.device}, **(overrides or {})}
    return checked_processors(config, checkpoint, widths, preprocessor_overrides=moved)


def base_processors(config: PreTrainedConfig, source: str, rename_map: dict[str, str]) -> Pipelines:
    """The processors of the SmolVLA checkpoint ``source``, with the data's names for its images
    (``rename_map``: see ``data_names``), and the tokenizer of the new policy's ``config``."""
    folder = checkpoint_folder(source)
    plain, names = smolvla_config(folder), data_names(folder, rename_map)
    overrides: dict[str, Any] = {}
    if config.vlm_model_name != plain.vlm_model_name:
        overrides["tokenizer_processor"] = {"tokenizer_name": config.vlm_model_name}
    preprocessor, postprocessor = load_processors(config, folder, overrides)
    if not names:
        return preprocessor, postprocessor
    steps = preprocessor.steps
    (normalizer,) = (step for step in steps if isinstance(step, NormalizerProcessorStep))
    rest = {data: name for data, name in own_rename_map(folder).items() if name not in names}
    overrides |= {
        "rename_observations_processor": {"rename_map": rest},
        "normalizer_processor": {
            "features": rename_features(normalizer.features, names),
            "stats": rename_stats(normalizer.stats, names),
        },
    }
    return load_processors(config, folder, overrides)
