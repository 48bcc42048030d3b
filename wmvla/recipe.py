"""What a suite fixes about an experiment: memory modes, and the dataclasses that its file fills.

They live in ``wmvla`` because training and rollouts read them; ``bench`` only fills them from TOML
and hashes them. Every field can be set in ``suites/<suite>/suite.toml`` under the section of the
same name.
"""

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from wmvla.ranges import AboveZero, Natural, Number, Positive, Several, Share

TRAINING_MODES = ("pred", "oracle", "zero", "shuffle", "random", "history")
"""``pred``: the Prophet's prediction. ``oracle``: the true future (an upper bound). ``zero``: zeros
(the capacity control). ``shuffle``: another sample's future. ``random``: noise. ``history``: the
past latents that the Prophet sees."""

ROLLOUT_MODES = ("pred", "zero", "random", "hold", "history")
"""``hold``: the present latent in every place, that is, a future in which nothing changes. The
others as in training. ``random`` is standard normal noise in the standardised latent space: the
scale of real latents and none of their content."""

REFUSED_IN_ROLLOUTS = {
    "oracle": "in a live rollout the future is not known yet",
    "shuffle": "a live rollout has no other sample whose future could be taken",
}
"""Training modes that no rollout can have, and why."""

FRAME_MODES = frozenset({"pred", "hold", "history"})
"""Rollout modes that read camera frames."""


@dataclass(frozen=True)
class Environment:
    """Which simulated tasks are played, and how they are seen."""

    suite: str
    """LIBERO suite, for instance ``libero_object``, or a control scene, for instance
    ``control_catch``."""
    tasks: Several[Natural]
    """Task numbers inside the suite."""
    image_size: Positive
    """Camera images are ``image_size`` x ``image_size`` pixels."""
    max_steps: Positive
    """An episode that has not succeeded after this many control steps (20 Hz) has failed; 24 in the
    control scenes."""
    settle_steps: Natural = 10
    """LIBERO: control steps without action after a reset, so that objects come to rest (LeRobot's
    number)."""


@dataclass(frozen=True)
class Demonstrations:
    """Episodes that the scripted expert plays, written as a LeRobotDataset."""

    repo_id: str
    """Dataset name below the cache, or a hub id at full scale."""
    source: Literal["expert", "hub"]
    """``expert``: made on the spot by the scripted expert. ``hub``: a published dataset."""
    inits: tuple[Natural, ...] = ()
    """Initial states that are demonstrated, for every task."""
    held_out: tuple[Natural, ...] = ()
    """Initial states that are demonstrated too, in a dataset of their own, and never trained on."""
    seed: Natural = 0
    """Seed of the pushes and of the environment."""
    push_strength: Number = 1.5
    """Random pushes: each lasts 4 steps at ``push_strength`` x U(0.5, 1); 0 turns them off, as the
    control scenes ask for."""


@dataclass(frozen=True)
class BaseModel:
    """The policy that every arm is fine-tuned from."""

    source: Literal["tiny", "hub"]
    """``tiny``: made from ``seed`` and trained here. ``hub``: a published checkpoint,
    ``checkpoint``."""
    checkpoint: str = ""
    rename_map: dict[str, str] = field(default_factory=dict)
    """Image's name in the data -> the name that ``checkpoint`` gives it, where they differ."""
    seed: Natural = 0
    text_hidden: Positive = 96
    text_layers: Positive = 2
    text_heads: Positive = 4
    text_key_value_heads: Positive = 2
    vision_hidden: Positive = 64
    vision_layers: Positive = 1
    vision_heads: Positive = 4
    vision_patch: Positive = 16
    vision_scale_factor: Positive = 2
    expert_width_multiplier: AboveZero = 0.75
    chunk_size: Positive = 16
    num_denoising_steps: Positive = 10

    def to_dict(self) -> dict[str, Any]:
        """All fields; an empty ``rename_map`` is left out, as in the plans from before it."""
        content = asdict(self)
        if not self.rename_map:
            del content["rename_map"]
        return content


@dataclass(frozen=True)
class World:
    """The world encoder and the memory made from its latents."""

    encoder: str
    """``tiny``: a V-JEPA 2 made from ``encoder_seed``. Anything else: a hub id or folder."""
    source: str = "vjepa"
    """Name of the encoder family in the latent cache's file name."""
    camera: Literal["front", "wrist", "both"] = "front"
    """What the encoder sees; ``both`` puts the latents of the two cameras side by side."""
    encoder_seed: Natural = 0
    encoder_hidden: Positive = 64
    encoder_layers: Positive = 2
    encoder_heads: Positive = 4
    window: Positive = 4
    """Frames of one clip, m."""
    history: Positive = 4
    """Latents the Prophet sees, T."""
    horizon: Positive = 8
    """Latents the Prophet predicts, K."""
    attention_heads: Positive = 8
    """Of the Prophet and of every path from the memory."""
    lambda_world: Number = 0.2
    """Weight of the world loss."""


@dataclass(frozen=True)
class ArmFields:
    """The fields of ``SmolVLAWorldConfig`` that an arm of a suite may set; None: as the policy has
    it.

    They say by which paths the memory enters the policy, and how it is made. All else is the
    scale's, the same for every arm.
    """

    enable_world_injection: bool | None = None
    world_inject_suffix_in: bool | None = None
    world_prefix_tokens: Natural | None = None
    world_prefix_block: Literal["prefix", "state"] | None = None
    world_prefix_cross_attn: bool | None = None
    world_num_hypotheses: Positive | None = None
    world_hypothesis_method: Literal["dropout", "noise", "ensemble"] | None = None
    world_best_of_n: bool | None = None
    world_detach_memory: bool | None = None
    world_standardise: bool | None = None
    prophet_dropout: Share | None = None

    def given(self) -> dict[str, Any]:
        """The fields that are set."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class Training:
    """One optimisation run; the same for every arm of a suite."""

    steps: Positive
    batch_size: Positive
    """Samples per optimizer step over all processes."""
    learning_rate: AboveZero
    warmup_steps: Natural
    final_learning_rate_fraction: Share = 0.02
    """The cosine schedule ends at this fraction of ``learning_rate``."""
    adam_beta1: Share = 0.9
    adam_beta2: Share = 0.95
    weight_decay: Number = 1e-10
    gradient_clip_norm: AboveZero = 10.0
    image_shift: Natural = 0
    """Random image shift in pixels, at most this many each way."""
    state_noise: Number = 0.0
    """Standard deviation of noise on the normalised state."""
    log_every: Positive = 10
    save_every: Positive = 200


@dataclass(frozen=True)
class BaseTraining(Training):
    """The training of the base policy: no steps where it comes from the hub."""

    steps: Natural


@dataclass(frozen=True)
class Rollout:
    """Closed-loop evaluation."""

    n_action_steps: Positive
    """Actions executed of each predicted chunk."""
    inits: Several[Natural]
    """Initial states of the episode table, for every task; the first ``episodes`` of them, repeated
    when there are more."""
    episodes: Positive
    """Episodes per task."""
    env_seed: Natural = 1000
    """Seed of fixture placement; the same for every arm."""
    noise_seed: Natural = 2000
    """Root of the policy's noise streams; the same for every arm."""


@dataclass(frozen=True)
class Recipe:
    """Everything that one scale of a suite fixes."""

    environment: Environment
    demonstrations: Demonstrations
    base: BaseModel
    world: World
    base_training: BaseTraining
    training: Training
    rollout: Rollout


@dataclass(frozen=True)
class EpisodeRow:
    """One row of the episode table. Every arm, rollout mode and training seed plays every row."""

    index: Natural
    suite: str
    task: Natural
    init: Natural
    env_seed: Natural
    """Equal for all repeats of a (suite, task, init): they start from one scene."""
    noise_seed: Natural
    """Root of the policy's noise stream in this episode; equal for all arms (paired by
    construction)."""
    repeat: Natural
