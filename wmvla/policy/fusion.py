"""Fusion points: where the world memory enters SmolVLA, each behind a gate that starts closed.

F1 late injection, F2 suffix input, F3a world tokens in the prefix, F3b prefix cross-attention
(PROTOCOL.md has the words).
"""

from typing import Any

import torch
from lerobot.policies.smolvla.modeling_smolvla import VLAFlowMatching
from lerobot.policies.smolvla.smolvlm_with_expert import SmolVLMWithExpertModel
from torch import Tensor, nn

from wmvla.policy.configuration_smolvla_world import SmolVLAWorldConfig
from wmvla.world.injection import GatedCrossAttention, PrefixTokens, gated_tokens


class WorldFusion(nn.Module):
    """The gated paths that a configuration asks for, and the memory that they read.

    ``memory``: (B, M, D) while the policy runs, else None. ``watched``: hidden (B, S, H), context
    (B, S, H) and attention weights (first samples, heads, S, M) of the last cross-attention in a
    training step, if ``log_attn_stats`` asks for them.
    """

    def __init__(self, config: SmolVLAWorldConfig, expert_width: int, prefix_width: int) -> None:
        super().__init__()
        latent, tokens = config.world_latent_dim, config.memory_tokens
        gate, prefix_gate = config.world_gate_init, config.world_prefix_gate_init
        late = (expert_width, latent, tokens, config.world_inject_num_heads, gate)
        early = (prefix_width, latent, tokens, config.world_prefix_num_heads, prefix_gate)
        self.late = GatedCrossAttention(*late) if config.enable_world_injection else None
        self.suffix_in = GatedCrossAttention(*late) if config.world_inject_suffix_in else None
        self.prefix_cross = GatedCrossAttention(*early) if config.world_prefix_cross_attn else None
        tokens = config.world_prefix_tokens
        added = (prefix_width, latent, tokens, prefix_gate)
        self.prefix_tokens = PrefixTokens(*added) if tokens else None
        self.watch = config.log_attn_stats
        self.memory: Tensor | None = None
        self.watched: tuple[Tensor, Tensor, Tensor] | None = None

    def gates(self) -> dict[str, Tensor]:
        """tanh of every gate (), detached, by the name under which it is logged."""
        paths = {
            "world_gate": self.late,
            "world_gate_suffix_in": self.suffix_in,
            "world_gate_prefix": self.prefix_tokens,
            "world_gate_prefix_cross": self.prefix_cross,
        }
        return {
            name: torch.tanh(path.gate.detach()).squeeze()
            for name, path in paths.items()
            if path is not None
        }

    def inject_late(self, _module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Forward pre-hook of ``action_out_proj`` (F1)."""
        assert self.late is not None
        return (self.attend(self.late, inputs[0]), *inputs[1:])

    def inject_suffix_in(
        self, _module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor
    ) -> Tensor:
        """Forward hook of ``action_time_mlp_out`` (F2)."""
        assert self.suffix_in is not None
        return self.attend(self.suffix_in, output)

    def attend(self, path: GatedCrossAttention, hidden: Tensor) -> Tensor:
        """``hidden`` after it has read the memory along ``path``."""
        injected, context, weights = path(hidden, self.seen(), self.watch and self.training)
        self.watched = None if weights is None else (hidden.detach(), context.detach(), weights)
        return injected

    def seen(self) -> Tensor:
        """The memory of the forward pass under way."""
        assert self.memory is not None, "SmolVLA ran without a memory"
        return self.memory


class WorldFlowMatching(VLAFlowMatching):
    """SmolVLA's model with world memory in its prefix and suffix embeddings."""

    fusion: list[WorldFusion]  # in a list, so that its weights are not named twice in a checkpoint
    padded_length: int
    """SmolVLA's ``prefix_length``, which is 0 here: the prefix is padded behind world tokens."""

    def embed_prefix(self, *arguments: Any, **named: Any) -> tuple[Tensor, Tensor, Tensor]:
        """As SmolVLA's, then F3b and F3a.

        Non-obvious: the world tokens stand in padding that positions and masks do not count, so
        nothing behind them moves. ``WorldTokenVLM`` lets the others see them.
        """
        (fusion,) = self.fusion
        embs, pad_masks, att_masks = super().embed_prefix(*arguments, **named)
        if fusion.prefix_cross is not None:
            embs = fusion.attend(fusion.prefix_cross, embs)
        length, rows = embs.shape[1], []
        if fusion.prefix_tokens is not None:
            rows = [fusion.prefix_tokens(fusion.seen()).to(embs)]
            self.vlm_with_expert.world_slots = (length, length + rows[0].shape[1])
        missing = self.padded_length - length - sum(row.shape[1] for row in rows)
        embs = nn.functional.pad(torch.cat([embs, *rows], dim=1), (0, 0, 0, max(0, missing)))
        behind = (0, embs.shape[1] - length)
        return embs, nn.functional.pad(pad_masks, behind), nn.functional.pad(att_masks, behind)


class WorldTokenVLM(SmolVLMWithExpertModel):
    """SmolVLM and action expert that see the world tokens of F3a, as far as their gate is open."""

    fusion: list[WorldFusion]
    world_slots: tuple[int, int]
    """First and last + 1 position of the world tokens; the state's token stands right before."""
    state_block: bool
    """Whether image and language tokens may not see the world tokens."""

    def forward(
        self, attention_mask: Tensor, inputs_embeds: list[Tensor | None], **named: Any
    ) -> Any:
        """As SmolVLM's, with world tokens visible in ``attention_mask`` (B, Q, K).

        Non-obvious: in logic instead of assignments to slices, of which torch's compiler for CPUs
        makes code that no C++ compiler takes.
        """
        first, last = self.world_slots
        world = self._world_columns(attention_mask)
        if inputs_embeds[0] is None:  # a denoising step: actions see all of them
            mask = attention_mask | world
            return super().forward(attention_mask=mask, inputs_embeds=inputs_embeds, **named)
        rows = torch.arange(attention_mask.shape[1], device=attention_mask.device)[:, None]
        theirs = (rows >= first) & (rows < last)
        # They see what the state sees, in block `prefix` without the state itself.
        seen = attention_mask[:, first - 1 : first]
        if not self.state_block:
            columns = torch.arange(attention_mask.shape[2], device=attention_mask.device)
            seen = seen & (columns != first - 1)
        seeing = rows >= (first - 1 if self.state_block else 0)
        mask = (attention_mask & ~theirs) | (seen & theirs) | (seeing & world)
        return super().forward(attention_mask=mask, inputs_embeds=inputs_embeds, **named)

    def _world_columns(self, attention_mask: Tensor) -> Tensor:
        """Which keys (K,) of ``attention_mask`` (B, Q, K) are world tokens."""
        columns = torch.arange(attention_mask.shape[2], device=attention_mask.device)
        return (columns >= self.world_slots[0]) & (columns < self.world_slots[1])

    def eager_attention_forward(
        self,
        attention_mask: Tensor,
        batch_size: int,
        head_dim: int,
        query: Tensor,
        key: Tensor,
        value: Tensor,
    ) -> Tensor:
        """SmolVLM's attention over all but the world tokens, joined with the gated one over them:
        query (B, Q, heads, d); key, value (B, K, key heads, d)."""
        first, last = self.world_slots
        (fusion,) = self.fusion
        assert fusion.prefix_tokens is not None
        others = attention_mask & ~self._world_columns(attention_mask)
        output = super().eager_attention_forward(others, batch_size, head_dim, query, key, value)

        groups = self.num_attention_heads // self.num_key_value_heads
        # In query groups (B, key heads, groups x Q, d), so that no key is copied.
        rows = query.float().unflatten(2, (-1, groups)).permute(0, 2, 3, 1, 4)
        keys = key.float().permute(0, 2, 3, 1)[:, :, None]
        scores = rows @ keys * head_dim**-0.5
        hidden = torch.finfo(scores.dtype).min
        normaliser = scores.masked_fill(~others[:, None, None], hidden).logsumexp(-1)
        unseen = ~attention_mask[:, None, None, :, first:last]
        world = scores[..., first:last].masked_fill(unseen, float("-inf"))
        values = value[:, first:last].float().permute(0, 2, 1, 3)[:, :, None]
        split = output.float().unflatten(-1, (self.num_key_value_heads, groups, head_dim))
        plain = split.permute(0, 2, 3, 1, 4)
        joined = gated_tokens(plain, world, values, normaliser, fusion.prefix_tokens.gate)
        return joined.permute(0, 3, 1, 2, 4).flatten(2).to(output)


def fuse(model: VLAFlowMatching, config: SmolVLAWorldConfig) -> WorldFusion:
    """Make the paths of ``config`` and let ``model`` use them; returns their weights.

    Non-obvious: nothing of SmolVLA is copied and no weight is renamed. F1 and F2 are hooks on the
    two projections around the action expert, which SmolVLA calls once in training and once per
    denoising step. For the prefix no such module exists, so the model that LeRobot made is given a
    subclass with the two methods overridden; making a second one would read the weights of the
    language model twice.
    """
    vlm = model.vlm_with_expert
    fusion = WorldFusion(config, vlm.expert_hidden_size, vlm.config.text_config.hidden_size)
    if fusion.late is not None:
        model.action_out_proj.register_forward_pre_hook(fusion.inject_late)
    if fusion.suffix_in is not None:
        model.action_time_mlp_out.register_forward_hook(fusion.inject_suffix_in)
    if fusion.prefix_tokens is not None or fusion.prefix_cross is not None:
        model.__class__ = WorldFlowMatching
        model.fusion, model.padded_length, model.prefix_length = [fusion], model.prefix_length, 0
    if fusion.prefix_tokens is not None:
        vlm.__class__ = WorldTokenVLM
        vlm.fusion, vlm.state_block = [fusion], config.world_prefix_block == "state"
    return fusion
