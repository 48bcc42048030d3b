"""Every fusion point on a real tiny SmolVLA: memory reaches the action, with and without the KV
cache, compiled and in bf16."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from wmvla.policy.modeling_smolvla_world import SmolVLAWorldPolicy
from wmvla.policy.tiny_vlm import make_tiny_vlm
from wmvla.streams import generator
from wmvla.train.finite import all_finite
from wmvla.train.metrics import MetricsFile
from wmvla.train.step import clip, combine, parameter_groups
from wmvla.wiring.gate import FUSION_POINTS, pad_alike
from wmvla.wiring.planted_toy import (
    ACTION,
    BATCH,
    MODEL,
    SENTENCE,
    SIZE,
    WIDTH,
    toy_batch,
    toy_policy,
)

OPEN = 0.5


@pytest.fixture(scope="module")
def vlm(tmp_path_factory):
    return make_tiny_vlm(tmp_path_factory.mktemp("vlm") / "vlm", MODEL, SIZE, [SENTENCE])


def fields(name: str) -> dict[str, object]:
    tokens = {"world_prefix_tokens": 8} if name.startswith("F3a") else {}
    return {**FUSION_POINTS[name], **tokens}


def make(
    vlm, name: str, gate: float = OPEN, memory: str = "oracle", **further
) -> SmolVLAWorldPolicy:
    policy = toy_policy(
        vlm,
        memory,
        0,
        {**fields(name), "world_gate_init": gate, "world_prefix_gate_init": gate, **further},
    )
    assert isinstance(policy, SmolVLAWorldPolicy)
    return policy


def drawn(policy, seed: int = 0):
    return toy_batch(
        policy,
        torch.randn(WIDTH, ACTION, generator=generator("projection")),
        generator("batch", seed),
    )


@contextmanager
def velocities(policy) -> Iterator[list[torch.Tensor]]:
    """What the flow head gives at each call."""
    seen: list[torch.Tensor] = []
    handle = policy.model.action_out_proj.register_forward_hook(
        lambda _, inputs, output: seen.append(output.detach())
    )
    try:
        yield seen
    finally:
        handle.remove()


@pytest.mark.parametrize("name", FUSION_POINTS)
def test_memory_reaches_the_action_through_an_open_gate(vlm, name):
    policy = make(vlm, name).eval()
    batch, noise, _ = drawn(policy)
    first, second = (torch.randn(BATCH, policy.config.memory_tokens, WIDTH) for _ in range(2))
    chunks = [
        policy.predict_action_chunk(dict(batch), noise, memory=memory) for memory in (first, second)
    ]
    assert not torch.equal(*chunks)
    assert all(
        gate.item() == pytest.approx(torch.tensor(OPEN).tanh().item())
        for gate in policy.world_fusion.gates().values()
    )


@pytest.mark.parametrize("name", FUSION_POINTS)
def test_the_cached_prefix_counts_the_memory_as_training_does(vlm, name):
    """The first denoising step, on the KV cache of the prefix, is training's forward pass at time
    1."""
    policy = make(vlm, name).eval()
    batch, noise, time = drawn(policy)
    memory = torch.randn(BATCH, policy.config.memory_tokens, WIDTH)
    policy.config.use_cache = True
    with velocities(policy) as cached:
        policy.predict_action_chunk(dict(batch), noise, memory=memory)
    with velocities(policy) as plain, torch.no_grad(), policy._remember(memory):
        policy._action_losses(batch, noise, torch.ones_like(time))
    assert len(cached) == policy.config.num_steps
    assert torch.allclose(cached[0], plain[0], atol=1e-5)


@pytest.mark.parametrize("name", ["F3a-prefix", "F3a-state"])
def test_image_and_language_see_the_world_tokens_only_in_their_own_block(vlm, name):
    policy = make(vlm, name).eval()
    batch, _, _ = drawn(policy)
    keys = []
    for seed in (0, 1):
        memory = torch.randn(BATCH, 8, WIDTH, generator=generator("memory", seed))
        images, masks = policy.prepare_images(batch)
        tokens, seen = (
            batch["observation.language.tokens"],
            batch["observation.language.attention_mask"],
        )
        with torch.no_grad(), policy._remember(memory):
            embs, pads, atts = policy.model.embed_prefix(
                images, masks, tokens, seen, state=policy.prepare_state(batch)
            )
            first, _ = policy.model.vlm_with_expert.world_slots
            cumulated = atts.cumsum(1)
            mask = (cumulated[:, None] <= cumulated[:, :, None]) & pads[:, None] & pads[:, :, None]
            (out, _), _ = policy.model.vlm_with_expert.forward(
                attention_mask=mask, position_ids=pads.cumsum(1) - 1, past_key_values=None,
                inputs_embeds=[embs, None], use_cache=True,
            )  # fmt: skip
        keys.append((out[:, : first - 1], out[:, first - 1]))
    (image_and_language, state), (others, other_state) = keys
    assert torch.equal(image_and_language, others) == (name == "F3a-state")
    assert not torch.equal(state, other_state)


@pytest.mark.parametrize("name", FUSION_POINTS)
def test_closed_gates_are_smolvla_in_bf16_too(vlm, name):
    plain, policy = toy_policy(vlm, "none", 0, {}), make(vlm, name, gate=0.0)
    pad_alike(plain, policy)
    losses = []
    for model in (plain, policy):
        batch, noise, time = drawn(model)
        model.train()
        with torch.autocast("cpu", torch.bfloat16):
            loss, details = model(batch, noise, time, "none")
        losses.append(details.get("action_loss_per_sample", loss))
        losses[-1].mean().backward()
    assert torch.equal(*losses)
    gates = [p for key, p in policy.world_fusion.named_parameters() if key.endswith("gate")]
    assert all(gate.grad.isfinite() and gate.grad != 0 for gate in gates)


@pytest.mark.parametrize("name", ["F1", pytest.param("F3a-prefix", marks=pytest.mark.slow)])
def test_a_compiled_step_is_the_eager_one(vlm, name):
    """Captured by dynamo with gradients; the code that inductor would make of the graph is not at
    stake here."""
    results = []
    for compiled in (False, True):
        policy = make(vlm, name)
        if compiled:
            policy.model.forward = torch.compile(policy.model.forward, backend="aot_eager")
        policy.train()
        batch, noise, time = drawn(policy)
        loss, _ = policy(batch, noise, time)
        loss.backward()
        results.append(
            [loss.detach(), *(p.grad for p in policy.parameters() if p.grad is not None)]
        )
    assert len(results[0]) == len(results[1])
    assert all(
        torch.allclose(eager, other, atol=1e-5) for eager, other in zip(*results, strict=True)
    )


class HostCopies(TorchDispatchMode):
    """Counts the values that are copied to the host: on a GPU each of these waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function.overloadpacket in (
            torch.ops.aten._local_scalar_dense,
            torch.ops.aten.nonzero,
        )
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", FUSION_POINTS)
@pytest.mark.parametrize("memory", ["pred", "shuffle"])
def test_a_training_step_copies_nothing_to_the_host(vlm, name, memory, tmp_path):
    """Nothing but what transformers' vision tower copies by itself, for the mask of its patches."""
    policy = make(vlm, name, memory=memory)
    policy.train()
    groups = parameter_groups(policy)
    batch, noise, time = drawn(policy)
    images, _ = policy.prepare_images(batch)
    with HostCopies() as vision:
        policy.model.vlm_with_expert.embed_image(images[0])
    metrics = MetricsFile(tmp_path / "metrics.jsonl", 0)
    with HostCopies() as step:
        per_sample, details = policy(batch, noise, time, "none")
        loss, values = combine(per_sample, details, torch.full((BATCH,), 1 / BATCH), policy)
        loss.backward()
        gradients = {
            part: [p.grad for p in group if p.grad is not None] for part, group in groups.items()
        }
        values |= clip(gradients, 10.0)
        metrics.add(1, 1e-3, BATCH, values)
        all_finite(values)
    assert step.count == vision.count
    (line,) = metrics.flush(0.0)
    assert {
        "loss_total",
        "action_loss",
        "world_loss",
        "world_cos",
        "world_cos_k",
        "world_valid_frac",
        "world_mem_norm",
    } < set(line)
    assert {
        "world_z_hist_norm",
        "world_z_future_norm",
        "grad_norm",
        "grad_world_inject",
        "grad_prophet",
    } < set(line)
    assert len(line["world_cos_k"]) == 8
    if not name.startswith("F3a"):
        assert {
            "world_attn_entropy",
            "world_attn_pmax",
            "world_attn_k",
            "world_ctx_norm",
            "world_act_norm",
        } < set(line)
        assert sum(line["world_attn_k"]) == pytest.approx(1, abs=1e-4)
    assert any(key.startswith("world_gate") for key in line)
