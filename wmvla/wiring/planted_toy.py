"""A toy whose action *is* the future: an oracle memory must gain on it, and no other may.

Nothing in it can be predicted from the past or seen in an image: the action is a fixed projection
of the future latents, which are noise. So a memory that carries the future lowers the action loss
far below SmolVLA's, and any other memory leaves it there.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.pretrained import PreTrainedPolicy
from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from torch import Tensor

from wmvla.policy.configuration_smolvla_world import SmolVLAWorldConfig
from wmvla.policy.modeling_smolvla_world import MEMORY_ORDER, SmolVLAWorldPolicy
from wmvla.policy.processor_smolvla_world import FUTURE, HISTORY, VALID
from wmvla.policy.tiny_vlm import make_tiny_vlm
from wmvla.recipe import BaseModel
from wmvla.streams import generator
from wmvla.world.memory import another_sample

MODEL = BaseModel(
    source="tiny",
    text_hidden=32,
    text_layers=2,
    text_heads=2,
    text_key_value_heads=1,
    vision_hidden=32,
    vision_heads=2,
    chunk_size=4,
)
SIZE, WIDTH, ACTION, BATCH = 32, 8, 3, 64
SENTENCE = "reach what is not there yet"
LEARNING_RATE = 1e-2
TAIL = 50
"""Last steps over which the loss is averaged."""


@dataclass(frozen=True)
class ToyResult:
    """Mean action loss over the last steps, and the gate tanh(g) at the end (0 without one)."""

    action_loss: float
    gate: float


def train_toy(memory: str, steps: int, seed: int = 0, **world: Any) -> ToyResult:
    """Train one arm on the toy, from the same weights, data and noise whatever ``memory`` is: a
    training mode, or ``none`` for a plain SmolVLA. ``world``: fields of ``SmolVLAWorldConfig``."""
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
        vlm = make_tiny_vlm(Path(folder) / "vlm", MODEL, SIZE, [SENTENCE])
        policy = toy_policy(vlm, memory, seed, world)
    policy.train()
    trained = [p for p in policy.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=LEARNING_RATE, betas=(0.9, 0.95), weight_decay=0.0)
    draws = generator("toy projection", seed)
    projection = torch.randn(WIDTH, ACTION, generator=draws) * WIDTH**-0.5
    losses = []
    for step in range(steps):
        batch, noise, time = toy_batch(policy, projection, generator("toy step", seed, step))
        loss, details = policy(batch, noise, time, "none")
        loss.mean().backward()
        torch.nn.utils.clip_grad_norm_(trained, 10.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(details.get("action_loss_per_sample", loss).detach().mean())
    has_memory = isinstance(policy, SmolVLAWorldPolicy)
    gate = next(iter(policy.world_fusion.gates().values())) if has_memory else torch.zeros(())
    return ToyResult(float(torch.stack(losses[-TAIL:]).mean()), float(gate))


def toy_policy(vlm: Path, memory: str, seed: int, world: dict[str, Any]) -> PreTrainedPolicy:
    """A SmolVLA from ``seed``, with world parts unless ``memory`` is ``none``."""
    fields: dict[str, Any] = {
        "vlm_model_name": str(vlm),
        "load_vlm_weights": False,
        "num_vlm_layers": MODEL.text_layers,
        "expert_width_multiplier": MODEL.expert_width_multiplier,
        "chunk_size": MODEL.chunk_size,
        "n_action_steps": MODEL.chunk_size,
        "resize_imgs_with_padding": (SIZE, SIZE),
        "freeze_vision_encoder": True,
        "train_expert_only": True,
        "device": "cpu",
        "input_features": {
            "observation.images.image": PolicyFeature(FeatureType.VISUAL, (3, SIZE, SIZE)),
            "observation.state": PolicyFeature(FeatureType.STATE, (ACTION,)),
        },
        "output_features": {"action": PolicyFeature(FeatureType.ACTION, (ACTION,))},
    }
    torch.manual_seed(seed)
    plain = SmolVLAPolicy(SmolVLAConfig(**fields))
    if memory == "none":
        return plain
    heads = ("prophet_heads", "world_inject_num_heads", "world_prefix_num_heads")
    geometry: dict[str, Any] = {"world_latent_dim": WIDTH, **dict.fromkeys(heads, 4)}
    geometry |= {"world_standardise": False, "world_memory_mode_train": memory}
    policy = SmolVLAWorldPolicy(SmolVLAWorldConfig(**fields, **geometry, **world))
    policy.load_state_dict(plain.state_dict(), strict=False)
    policy.ready_to_train = True  # its latents come from no cache
    return policy


def toy_batch(
    policy: PreTrainedPolicy, projection: Tensor, draws: torch.Generator
) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """One batch: an image and a state without meaning, noise latents, the actions (B, chunk, A)
    that they fix."""
    chunk = MODEL.chunk_size
    history = torch.randn(BATCH, 4, WIDTH, generator=draws)
    future = torch.randn(BATCH, 8, WIDTH, generator=draws)
    batch = {
        "observation.images.image": torch.zeros(BATCH, 3, SIZE, SIZE),
        "observation.state": torch.zeros(BATCH, ACTION),
        "observation.language.tokens": torch.ones(BATCH, 4, dtype=torch.long),
        "observation.language.attention_mask": torch.ones(BATCH, 4, dtype=torch.bool),
        "action": future[:, :chunk] @ projection,
        "action_is_pad": torch.zeros(BATCH, chunk, dtype=torch.bool),
        HISTORY: history,
        FUTURE: future,
        VALID: torch.ones(BATCH, 8, dtype=torch.bool),
        MEMORY_ORDER: another_sample(BATCH, draws),
    }
    noise = torch.randn(BATCH, chunk, policy.config.max_action_dim, generator=draws)
    return batch, noise, torch.rand(BATCH, generator=draws) * 0.999 + 0.001
