"""What a scale of a suite fixes about the experiment: the frozen dataclasses that suite files fill.

They live in ``wmvla`` because training and rollouts read them; ``bench`` only fills them from TOML and hashes them.
Every field can be set in ``suites/<suite>/suite.toml`` under the section of the same name.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Environment:
    """Which simulated tasks are played, and how they are seen."""

    suite: str
    """LIBERO suite, for instance ``libero_object``."""
    tasks: tuple[int, ...]
    """Task numbers inside the suite."""
    image_size: int
    """Camera images are ``image_size`` x ``image_size`` pixels."""
    max_steps: int
    """An episode that has not succeeded after this many control steps (20 Hz) has failed."""
    settle_steps: int = 10
    """Control steps without action after a reset, so that objects come to rest (LeRobot's number)."""


@dataclass(frozen=True)
class Demonstrations:
    """Episodes that the scripted expert plays, written as a LeRobotDataset."""

    repo_id: str
    """Dataset name below the cache, or a hub id at full scale."""
    source: str
    """``expert``: made on the spot by the scripted expert. ``hub``: a published dataset."""
    inits: tuple[int, ...] = ()
    """Initial states that are demonstrated, for every task."""
    seed: int = 0
    """Seed of the pushes and of the environment."""
    push_strength: float = 1.5
    """Random pushes: each lasts 4 steps at ``push_strength`` x U(0.5, 1); 0 turns them off."""


@dataclass(frozen=True)
class BaseModel:
    """The policy that every arm is fine-tuned from."""

    source: str
    """``tiny``: made from ``seed`` and trained here. ``hub``: a published checkpoint, ``checkpoint``."""
    checkpoint: str = ""
    seed: int = 0
    text_hidden: int = 96
    text_layers: int = 2
    text_heads: int = 4
    text_key_value_heads: int = 2
    vision_hidden: int = 64
    vision_layers: int = 1
    vision_heads: int = 4
    vision_patch: int = 16
    vision_scale_factor: int = 2
    expert_width_multiplier: float = 0.75
    chunk_size: int = 16
    num_denoising_steps: int = 10


@dataclass(frozen=True)
class World:
    """The world encoder and the memory made from its latents."""

    encoder: str
    """``tiny``: a V-JEPA 2 made from ``encoder_seed``. Anything else: a hub id or folder."""
    source: str = "vjepa"
    """Name of the encoder family in the latent cache's file name."""
    encoder_seed: int = 0
    encoder_hidden: int = 64
    encoder_layers: int = 2
    encoder_heads: int = 4
    window: int = 4
    """Frames of one clip, m."""
    history: int = 4
    """Latents the Prophet sees, T."""
    horizon: int = 8
    """Latents the Prophet predicts, K."""
    lambda_world: float = 0.2
    """Weight of the world loss."""


@dataclass(frozen=True)
class Training:
    """One optimisation run; the same for every arm of a suite."""

    steps: int
    batch_size: int
    """Samples per optimizer step over all processes."""
    learning_rate: float
    warmup_steps: int
    final_learning_rate_fraction: float = 0.02
    """The cosine schedule ends at this fraction of ``learning_rate``."""
    adam_beta1: float = 0.9
    adam_beta2: float = 0.95
    weight_decay: float = 1e-10
    gradient_clip_norm: float = 10.0
    image_shift: int = 0
    """Random image shift in pixels, at most this many each way."""
    state_noise: float = 0.0
    """Standard deviation of noise on the normalised state."""
    log_every: int = 10
    save_every: int = 200


@dataclass(frozen=True)
class Rollout:
    """Closed-loop evaluation."""

    n_action_steps: int
    """Actions executed of each predicted chunk."""
    inits: tuple[int, ...]
    """Initial states of the episode table, for every task; the first ``episodes`` of them, repeated when there are more."""
    episodes: int
    """Episodes per task."""
    env_seed: int = 1000
    """Seed of fixture placement; the same for every arm."""
    noise_seed: int = 2000
    """Root of the policy's noise streams; the same for every arm."""


@dataclass(frozen=True)
class Recipe:
    """Everything that one scale of a suite fixes."""

    environment: Environment
    demonstrations: Demonstrations
    base: BaseModel
    world: World
    base_training: Training
    training: Training
    rollout: Rollout


@dataclass(frozen=True)
class EpisodeRow:
    """One row of the episode table. Every arm, rollout mode and training seed plays every row."""

    index: int
    suite: str
    task: int
    init: int
    env_seed: int
    """Equal for all repeats of a (suite, task, init): they start from one scene."""
    noise_seed: int
    """Root of the policy's noise stream in this episode; equal for all arms (paired by construction)."""
    repeat: int
