"""Configuration of the policy type ``smolvla_world``: SmolVLA plus world memory.

Field names follow the reference project, so that its ``--policy.*`` flags keep working.
"""

import re
from dataclasses import dataclass, field

from lerobot.configs import PreTrainedConfig
from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig

from wmvla.data.cameras import world_cameras
from wmvla.errors import UserError
from wmvla.policy.inheritance import inherit
from wmvla.recipe import FRAME_MODES, REFUSED_IN_ROLLOUTS, ROLLOUT_MODES, TRAINING_MODES

CAMERAS = ("front", "wrist", "both")
PREFIX_BLOCKS = ("prefix", "state")
HYPOTHESIS_METHODS = ("dropout", "noise", "ensemble")


@PreTrainedConfig.register_subclass("smolvla_world")
@dataclass
class SmolVLAWorldConfig(SmolVLAConfig):
    """SmolVLA with a Prophet and gated paths from its memory to the action expert or the prefix."""

    # Latent cache: <cache_dir>/<dataset_repo_id>/train_world_latents_<source>_<suffix>.fp16.npy
    dataset_repo_id: str = "HuggingFaceVLA/libero"
    cache_dir: str = "cache"
    world_latents_source: str = "vjepa"
    latent_suffix: str = "m4"
    world_latent_dim: int = 1408  # width of one latent; of both cameras together
    # False: the reference's raw latents, which learn several times slower
    world_standardise: bool = True
    world_camera: str = "front"  # front, wrist or both

    # Start: weights and processors of a SmolVLA checkpoint (folder or hub id)
    init_from_policy_path: str = ""
    init_from_strict: bool = True  # every weight that SmolVLA has must be there
    # data's image name -> that checkpoint's name
    init_rename_map: dict[str, str] = field(default_factory=dict)

    # Geometry of the memory
    context_frames: int = 4  # T, latents that the Prophet sees
    future_offset: int = 8  # K, latents that it predicts
    world_memory_mode_train: str = "pred"
    world_memory_mode_rollout: str = "pred"
    world_detach_memory: bool = False  # no policy gradient into the Prophet

    # Imagination bank: N hypotheses of the future, side by side in the memory
    world_num_hypotheses: int = 1
    world_hypothesis_method: str = "noise"  # dropout, noise or ensemble
    world_best_of_n: bool = False  # the world loss is the best hypothesis's, not their mean's

    # F1, late injection: the action expert's hidden states before action_out_proj
    enable_world_injection: bool = True
    world_inject_num_heads: int = 8
    world_gate_init: float = 0.0
    # F2: the action expert's input embeddings
    world_inject_suffix_in: bool = False
    # F3a: world tokens in the prefix padding, inside the image/language block or behind it
    world_prefix_tokens: int = 0
    world_prefix_block: str = "state"
    world_prefix_gate_init: float = 0.0
    # F3b: prefix embeddings attend to the memory
    world_prefix_cross_attn: bool = False
    world_prefix_num_heads: int = 8

    # Prophet
    prophet_layers: int = 2
    prophet_heads: int = 8
    prophet_dropout: float = 0.0
    delta_prediction: bool = True  # predict z_{t+k} - z_t instead of z_{t+k}
    lambda_world: float = 0.2

    # Encoder used online in rollouts: a folder or a hub id
    world_vision_model_name: str = "facebook/vjepa2-vitg-fpc64-256"
    # of the encoder that made the latents, once they were read; a rollout with another is refused
    world_encoder_hash: str = ""
    world_rollout_temporal_window: int = 0  # frames of one clip, m; 0: by latent_suffix ("m4" -> 4)

    # Diagnostics
    log_attn_stats: bool = True
    log_grad_stats: bool = True

    def __post_init__(self) -> None:
        self._start: tuple[str, dict[str, str]] = ("", {})  # no field, so never saved
        if self.init_from_policy_path:
            inherit(self, self.init_from_policy_path, self.init_rename_map)
        super().__post_init__()
        if self.world_memory_mode_rollout in REFUSED_IN_ROLLOUTS:
            mode = self.world_memory_mode_rollout
            raise UserError(
                f"policy.world_memory_mode_rollout = {mode!r} is not possible:"
                f" {REFUSED_IN_ROLLOUTS[mode]}; choose {', '.join(ROLLOUT_MODES)}."
            )
        for name, known in (
            ("world_memory_mode_train", TRAINING_MODES),
            ("world_memory_mode_rollout", ROLLOUT_MODES),
            ("world_camera", CAMERAS),
            ("world_prefix_block", PREFIX_BLOCKS),
            ("world_hypothesis_method", HYPOTHESIS_METHODS),
        ):
            if (value := getattr(self, name)) not in known:
                raise UserError(f"policy.{name} = {value!r} is unknown: choose {', '.join(known)}.")
        for name in ("context_frames", "future_offset", "world_num_hypotheses", "world_latent_dim"):
            if getattr(self, name) < 1:
                raise UserError(f"policy.{name} = {getattr(self, name)} must be at least 1.")
        if self.world_latent_dim % self.prophet_heads:
            raise UserError(
                f"policy.world_latent_dim = {self.world_latent_dim} is not a multiple of"
                f" policy.prophet_heads = {self.prophet_heads}."
            )
        if not 0 <= self.world_prefix_tokens <= self.memory_tokens:
            raise UserError(
                f"policy.world_prefix_tokens = {self.world_prefix_tokens} must lie between 0 and"
                f" the memory's {self.memory_tokens} latents."
            )
        if not 0 <= self.prophet_dropout < 1:
            raise UserError(
                f"policy.prophet_dropout = {self.prophet_dropout} must lie between 0 and 1."
            )
        varied = self.world_num_hypotheses > 1 and self.world_hypothesis_method == "dropout"
        if varied and self.prophet_dropout == 0:
            raise UserError(
                "policy.world_hypothesis_method = 'dropout' needs policy.prophet_dropout above 0."
            )
        window_of(self.latent_suffix, self.world_rollout_temporal_window)

    @property
    def start(self) -> tuple[str, dict[str, str]]:
        """The SmolVLA checkpoint that the policy starts from (empty: none), and its rename map."""
        given = self.init_from_policy_path, self.init_rename_map
        return given if self.init_from_policy_path else self._start

    def leave_start(self) -> None:
        """The policy has its first weights: checkpoints do not depend on where they came from."""
        self._start, self.init_from_policy_path, self.init_rename_map = self.start, "", {}

    @property
    def window(self) -> int:
        """Frames of one clip, m."""
        return window_of(self.latent_suffix, self.world_rollout_temporal_window)

    @property
    def world_camera_keys(self) -> tuple[str, ...]:
        """Feature keys of the cameras that the world encoder sees, by their names."""
        return tuple(world_cameras(list(self.image_features), self.world_camera, "the policy"))

    @property
    def world_frames(self) -> int:
        """Consecutive frames needed for one memory: T windows of m frames, one step apart."""
        return self.context_frames + self.window - 1

    @property
    def needs_frames(self) -> bool:
        """Whether the rollout mode reads camera frames."""
        return self.world_memory_mode_rollout in FRAME_MODES

    @property
    def memory_tokens(self) -> int:
        """Latents in the memory, M = N K."""
        return self.world_num_hypotheses * self.future_offset


def window_of(suffix: str, given: int) -> int:
    """The temporal window m that is ``given``, or else (0) named by a latent suffix: ``m4`` and
    ``m4_wrist`` -> 4. UserError: neither, or two that differ."""
    found = re.match(r"m(\d+)(?:_|$)", suffix)
    named = int(found[1]) if found else 0
    if named and given and named != given:
        raise UserError(
            f"policy.world_rollout_temporal_window = {given} contradicts policy.latent_suffix ="
            f" {suffix!r}: latents and rollouts must see the same window."
        )
    if (given or named) < 1:
        raise UserError(
            f"policy.latent_suffix = {suffix!r} does not contain the temporal window: set"
            " policy.world_rollout_temporal_window."
        )
    return given or named
