"""Do no harm: closed, each fusion point is SmolVLA bit for bit; and every gate can open."""

from typing import Any

import torch
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from torch import Tensor, nn

from wmvla.data.opening import open_metadata
from wmvla.errors import UserError
from wmvla.policy.conversion import add_world, load_with_processors
from wmvla.policy.modeling_smolvla_world import SmolVLAWorldPolicy
from wmvla.streams import generator
from wmvla.train.start import widths_of
from wmvla.wiring.inputs import WiringInputs, expect
from wmvla.wiring.samples import copied, flow_draws, observation, raw_batch

_ONLY: dict[str, Any] = {"enable_world_injection": False}
_TOKENS: dict[str, Any] = {**_ONLY, "world_prefix_tokens": 1}
FUSION_POINTS: dict[str, dict[str, Any]] = {
    "F1": {},
    "F2": {**_ONLY, "world_inject_suffix_in": True},
    "F3a-prefix": {**_TOKENS, "world_prefix_block": "prefix"},
    "F3a-state": {**_TOKENS, "world_prefix_block": "state"},
    "F3b": {**_ONLY, "world_prefix_cross_attn": True},
    "bank": {"world_num_hypotheses": 2},
}
"""Fields of ``SmolVLAWorldConfig`` by PROTOCOL.md's words; F3a takes the memory's tokens."""


def check_gate(inputs: WiringInputs) -> dict[str, float | str]:
    """Every fusion point: loss, gradients, chunks and ``select_action`` of SmolVLA; a gradient at
    0; open after one step.

    Returns:
        the size of each gate's gradient at 0.
    """
    widths = widths_of(open_metadata(inputs.dataset_root, inputs.dataset_repo_id))
    plain, (preprocessor, _) = load_with_processors(inputs.base, inputs.device, widths)
    if not isinstance(plain, SmolVLAPolicy):
        raise UserError(
            f"{inputs.base / 'config.json'}: 'type' is {plain.config.type}: world parts can be"
            " added to a smolvla only; name another checkpoint in the suite."
        )
    raw = raw_batch(inputs, plain.config.chunk_size)
    figures: dict[str, float | str] = {}
    for name, fields in FUSION_POINTS.items():
        world = {**inputs.world, **fields, "world_gate_init": 0.0, "world_prefix_gate_init": 0.0}
        if "world_prefix_tokens" in fields:
            world["world_prefix_tokens"] = world.get("future_offset", 8)
        # Every memory here is one that training or a rollout could give, and not 0.
        world |= {"world_memory_mode_train": "oracle", "world_memory_mode_rollout": "random"}
        policy, (with_latents, _) = add_world(inputs.base, world, inputs.seed, inputs.device)
        pad_alike(plain, policy)
        batches = preprocessor(copied(raw)), with_latents(copied(raw))
        _same_training(name, plain, policy, *batches, inputs.seed)
        _same_actions(name, plain, policy, preprocessor(observation(raw)), inputs.seed)
        figures[f"gate_gradient_{name}"] = _opens(name, policy)
    return figures


def pad_alike(plain: SmolVLAPolicy, policy: SmolVLAWorldPolicy) -> None:
    """Give both the same prefix length.

    Non-obvious: the world tokens of F3a stand in the prefix padding. SmolVLA padded to the same
    length computes the same bits; padding by itself moves the last ones, because products of other
    shapes are summed in another order.
    """
    extra = policy.config.world_prefix_tokens
    # Longer than any prefix with its world tokens, so that both are padded to it.
    images, words = len(plain.config.image_features), plain.config.tokenizer_max_length
    length = 64 * images + words + 1 + extra if extra else 0
    plain.model.prefix_length = length
    if extra:
        policy.model.padded_length = length


def _same_training(
    name: str,
    plain: SmolVLAPolicy,
    policy: SmolVLAWorldPolicy,
    batch: dict[str, Tensor],
    with_latents: dict[str, Tensor],
    seed: int,
) -> None:
    noise, time = flow_draws(plain, seed)
    gradients, losses = [], []
    for model, fed in ((plain, batch), (policy, with_latents)):
        model.train()
        model.zero_grad()
        torch.manual_seed(seed)
        loss, details = model(fed, noise, time, "none")
        losses.append(details.get("action_loss_per_sample", loss))
        losses[-1].mean().backward()
        gradients.append({key: p.grad for key, p in model.named_parameters() if p.grad is not None})
    expect(
        torch.equal(*losses),
        f"{name}: with the gate at 0 the loss is not SmolVLA's: {losses[1]} and {losses[0]}",
    )
    for key, gradient in gradients[0].items():
        expect(
            torch.equal(gradient, gradients[1][key]),
            f"{name}: with the gate at 0 the gradient of {key} is not SmolVLA's",
        )


def _same_actions(
    name: str, plain: SmolVLAPolicy, policy: SmolVLAWorldPolicy, batch: dict[str, Tensor], seed: int
) -> None:
    noise, _ = flow_draws(plain, seed)
    plain.eval()
    policy.eval()
    shape = policy.memory_noise_shape(len(noise))
    assert shape is not None
    memory_noise = torch.randn(shape, generator=generator("wiring memory", seed))
    plain.reset()
    policy.reset()
    chunks = (
        plain.predict_action_chunk(copied(batch), noise),
        policy.predict_action_chunk(copied(batch), noise, memory_noise),
    )
    expect(torch.equal(*chunks), f"{name}: with the gate at 0 the action chunk is not SmolVLA's")
    plain.reset()
    policy.reset()
    for step in range(2):
        ours = policy.select_action(copied(batch), noise)
        expect(
            torch.equal(plain.select_action(copied(batch), noise), ours),
            f"{name}: with the gate at 0 action {step} of select_action is not SmolVLA's",
        )


def _opens(name: str, policy: SmolVLAWorldPolicy) -> float:
    """The gate's gradient, of the training step before; then one optimizer step must move it."""
    named = policy.world_fusion.named_parameters()
    gates: list[nn.Parameter] = [p for key, p in named if key.endswith("gate")]
    assert len(gates) == 1
    (gate,) = gates
    size = 0.0 if gate.grad is None else float(gate.grad.abs())
    expect(size > 0, f"{name}: the gate gets no gradient at 0 and can never open")
    torch.optim.AdamW(gates, lr=1e-3).step()
    expect(bool(gate.detach().abs() > 0), f"{name}: one optimizer step does not open the gate")
    return size
