"""Configuration of the policy type ``smolvla_world``: SmolVLA plus world memory.

Field names follow the reference project, so that its ``--policy.*`` flags keep working.
"""

from dataclasses import dataclass

from lerobot.configs import PreTrainedConfig
from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig

from wmvla.errors import UserError
from wmvla.world.memory import ROLLOUT_MODES, TRAINING_MODES


@PreTrainedConfig.register_subclass("smolvla_world")
@dataclass
class SmolVLAWorldConfig(SmolVLAConfig):
    """SmolVLA with a Prophet and a gated cross-attention on the action expert's hidden states."""

    # Latent cache: <cache_dir>/<dataset_repo_id>/train_world_latents_<source>_<suffix>.fp16.npy
    dataset_repo_id: str = "HuggingFaceVLA/libero"
    cache_dir: str = "cache"
    world_latents_source: str = "vjepa"
    latent_suffix: str = "m4"
    world_latent_dim: int = 1408
    world_temporal_window: int = 0  # frames of one clip, m; 0: read from latent_suffix ("m4" -> 4)

    # Geometry of the memory
    context_frames: int = 4  # T, latents that the Prophet sees
    future_offset: int = 8  # K, latents that it predicts

    # Injection
    world_inject_num_heads: int = 8
    world_gate_init: float = 0.0
    world_memory_mode_train: str = "pred"
    world_memory_mode_rollout: str = "pred"

    # Prophet
    prophet_layers: int = 2
    prophet_heads: int = 8
    prophet_dropout: float = 0.0
    delta_prediction: bool = True  # predict z_{t+k} - z_t instead of z_{t+k}
    lambda_world: float = 0.2

    # Encoder used online in rollouts: a folder or a hub id
    world_vision_model_name: str = "facebook/vjepa2-vitg-fpc64-256"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, modes in (
            ("world_memory_mode_train", TRAINING_MODES),
            ("world_memory_mode_rollout", ROLLOUT_MODES),
        ):
            if getattr(self, name) not in modes:
                raise UserError(f"policy.{name} = {getattr(self, name)!r} is not one of {', '.join(modes)}.")
        if self.world_latent_dim % self.prophet_heads:
            raise UserError(
                f"policy.world_latent_dim = {self.world_latent_dim} is not a multiple of"
                f" policy.prophet_heads = {self.prophet_heads}."
            )
        window = self.window  # parses the suffix, so that a bad one is refused here
        suffix = self.latent_suffix.removeprefix("m")
        if suffix.isdigit() and int(suffix) != window:
            raise UserError(
                f"policy.world_temporal_window = {window} contradicts policy.latent_suffix ="
                f" {self.latent_suffix!r}: latents and rollouts must see the same window."
            )

    @property
    def window(self) -> int:
        """Frames of one clip, m."""
        if self.world_temporal_window > 0:
            return self.world_temporal_window
        suffix = self.latent_suffix.removeprefix("m")
        if not suffix.isdigit():
            raise UserError(
                f"policy.latent_suffix = {self.latent_suffix!r} does not tell the temporal window:"
                " set policy.world_temporal_window."
            )
        return int(suffix)

    @property
    def world_camera(self) -> str:
        """Feature key of the camera whose frames the world encoder sees: the first, which is LIBERO's front camera."""
        return next(iter(self.image_features))

    @property
    def world_frames(self) -> int:
        """Consecutive frames needed for one memory: T windows of m frames, one step apart."""
        return self.context_frames + self.window - 1
