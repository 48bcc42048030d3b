"""Processors of ``smolvla_world``: SmolVLA's own, plus the step that fetches cached latents."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lerobot.configs import PipelineFeatureType, PolicyFeature
from lerobot.lerobot_types import EnvTransition, TransitionKey
from lerobot.policies.smolvla.processor_smolvla import make_smolvla_pre_post_processors
from lerobot.processor import PolicyProcessorPipeline, ProcessorStep, ProcessorStepRegistry
from torch import Tensor

from wmvla.policy.base_processors import base_processors
from wmvla.policy.configuration_smolvla_world import SmolVLAWorldConfig
from wmvla.world.latents.cache import LatentCache, latents_path

HISTORY, FUTURE, VALID = "world_z_hist", "world_z_future", "world_future_valid"
LATENTS_PATH = "world_latents_path"
"""Batch key: the file of the latents, for the policy to compare with the one it asked for."""


@ProcessorStepRegistry.register("world_latents")
@dataclass
class WorldLatentsProcessorStep(ProcessorStep):
    """Adds history (B, T, D), future (B, K, D), validity (B, K) to batches with an ``index``.

    Non-obvious: batches of a rollout carry no index and pass unchanged; there the policy encodes
    frames itself. The file is opened at the first batch, so a checkpoint can be evaluated where no
    cache is.
    """

    path: str
    history: int
    horizon: int
    window: int
    width: int
    camera: str
    _cache: LatentCache | None = field(default=None, init=False, repr=False)

    def __call__(self, transition: EnvTransition) -> EnvTransition:
        complementary = transition.get(TransitionKey.COMPLEMENTARY_DATA) or {}
        index = complementary.get("index")
        if index is None:
            return transition
        if self._cache is None:
            self._cache = LatentCache(Path(self.path), self.window, self.width, self.camera)
        index = torch.as_tensor(index).reshape(-1)
        episode = complementary.get("episode_index")
        known = None if episode is None else torch.as_tensor(episode).reshape(-1).cpu().numpy()
        history, future, valid = self._cache.gather(
            index.cpu().numpy(), self.history, self.horizon, known
        )
        added = {HISTORY: history, FUTURE: future, VALID: valid}
        moved = {key: torch.from_numpy(value).to(index.device) for key, value in added.items()}
        return {
            **transition,
            TransitionKey.COMPLEMENTARY_DATA: {**complementary, **moved, LATENTS_PATH: self.path},
        }

    def get_config(self) -> dict[str, Any]:
        names = ("path", "history", "horizon", "window", "width", "camera")
        return {name: getattr(self, name) for name in names}

    def transform_features(
        self, features: dict[PipelineFeatureType, dict[str, PolicyFeature]]
    ) -> dict[PipelineFeatureType, dict[str, PolicyFeature]]:
        return features


def latents_step(config: SmolVLAWorldConfig) -> WorldLatentsProcessorStep:
    """The step that fits ``config``."""
    source, suffix = config.world_latents_source, config.latent_suffix
    path = latents_path(Path(config.cache_dir), config.dataset_repo_id, source, suffix)
    return WorldLatentsProcessorStep(
        path=str(path),
        history=config.context_frames,
        horizon=config.future_offset,
        window=config.window,
        width=config.world_latent_dim,
        camera=config.world_camera,
    )


def make_smolvla_world_pre_post_processors(
    config: SmolVLAWorldConfig, dataset_stats: dict[str, dict[str, Tensor]] | None = None
) -> tuple[PolicyProcessorPipeline, PolicyProcessorPipeline]:
    """The pipelines of the SmolVLA that the policy starts from, or else SmolVLA's own, with the
    latents step behind them. LeRobot finds this function by its name."""
    source, rename_map = config.start
    if source:
        preprocessor, postprocessor = base_processors(config, source, rename_map)
    else:
        preprocessor, postprocessor = make_smolvla_pre_post_processors(config, dataset_stats)
    preprocessor.steps.append(latents_step(config))
    return preprocessor, postprocessor
