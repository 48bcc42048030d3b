"""``smolvla_world``: LeRobot's SmolVLA with a world memory beside it."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from lerobot.utils.constants import OBS_STATE
from torch import Tensor, nn

from wmvla.errors import UserError
from wmvla.policy.configuration_smolvla_world import SmolVLAWorldConfig
from wmvla.policy.processor_smolvla_world import FUTURE, HISTORY, VALID
from wmvla.world.encoder import WorldEncoder
from wmvla.world.injection import GatedCrossAttention
from wmvla.world.memory import future_from_delta, random_memory
from wmvla.world.prophet import Prophet, cosine_per_step, world_loss

FRAMES = "world_frames"
"""Batch key of a rollout: the last T + m - 1 frames of the world camera, (B, T + m - 1, 3, H, W) in [0, 1]."""


class SmolVLAWorldPolicy(SmolVLAPolicy):
    """SmolVLA whose action expert reads predicted world latents through a gated cross-attention.

    Non-obvious: nothing of SmolVLA is copied. ``action_out_proj`` is called once in training and once per denoising step on
    the expert's float32 hidden states; a forward pre-hook injects the memory there. The parameters that SmolVLA has keep
    their names, and at gate 0 the policy is SmolVLA bit for bit.
    """

    config_class = SmolVLAWorldConfig
    name = "smolvla_world"

    def __init__(self, config: SmolVLAWorldConfig, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        width = config.world_latent_dim
        self.prophet = Prophet(
            width,
            config.context_frames,
            config.future_offset,
            config.prophet_layers,
            config.prophet_heads,
            config.prophet_dropout,
        )
        self.world_injection = GatedCrossAttention(
            self.model.vlm_with_expert.expert_hidden_size,
            width,
            config.future_offset,
            config.world_inject_num_heads,
            config.world_gate_init,
        )
        self.register_buffer("world_mean", torch.zeros(width))
        self.register_buffer("world_std", torch.ones(width))
        self._memory: Tensor | None = None
        self._encoder: list[WorldEncoder] = []  # in a list, so that its weights stay out of the checkpoint
        self.model.action_out_proj.register_forward_pre_hook(self._inject)

    def world_parameters(self) -> list[nn.Parameter]:
        """The parameters that SmolVLA does not have."""
        return [*self.prophet.parameters(), *self.world_injection.parameters()]

    def set_world_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Latents are standardised per dimension with these (D,); raw ones learn several times slower (FACTS.md)."""
        self.world_mean.copy_(mean)
        self.world_std.copy_(std.clamp_min(1e-6))

    def forward(
        self,
        batch: dict[str, Tensor],
        noise: Tensor | None = None,
        time: Tensor | None = None,
        reduction: str = "mean",
    ) -> tuple[Tensor, dict[str, Any]]:
        """Flow-matching loss plus ``lambda_world`` times the world loss.

        Args:
            batch: as SmolVLA's, plus history (B, T, D), future (B, K, D) and validity (B, K) from the latents step.
            reduction: ``mean`` gives a scalar, ``none`` one loss per sample (B,).

        Returns:
            The loss, and details; those that end in ``_per_sample`` are tensors (B,) with gradient.
        """
        if HISTORY not in batch:
            raise UserError(
                "Training batches carry no world latents: the preprocessor has no 'world_latents' step, or the dataset gives"
                " no 'index'. Start from a checkpoint made by wmvla.policy.conversion."
            )
        history, future = self._standardise(batch[HISTORY]), self._standardise(batch[FUTURE])
        valid = batch[VALID]
        prediction = self.prophet(history)
        target = future - history[:, -1:] if self.config.delta_prediction else future
        cosine = cosine_per_step(prediction, target)
        per_sample = world_loss(cosine, valid)
        with self._remember(self._training_memory(history, prediction)):
            action_loss, details = super().forward(batch, noise, time, reduction)
        inside = valid.float()
        details |= {
            "world_loss_per_sample": per_sample,
            "world_cos": ((cosine * inside).sum() / inside.sum().clamp_min(1)).detach(),
            "world_valid_frac": inside.mean(),
            "world_gate": torch.tanh(self.world_injection.gate).detach(),
        }
        if reduction == "none":
            details["action_loss_per_sample"] = action_loss
            return action_loss + self.config.lambda_world * per_sample, details
        return action_loss + self.config.lambda_world * per_sample.mean(), details

    @torch.no_grad()
    def predict_action_chunk(self, batch: dict[str, Tensor], noise: Tensor | None = None, **kwargs: Any) -> Tensor:
        """As SmolVLA's; in mode ``pred`` the batch carries ``world_frames`` (B, T + m - 1, 3, H, W).

        ``memory_noise=`` (B, K, D) fixes the memory of mode ``random``; otherwise it comes from torch's global generator.
        """
        memory = self._rollout_memory(batch, kwargs.pop("memory_noise", None))
        with self._remember(memory):
            return super().predict_action_chunk(batch, noise, **kwargs)

    @torch.no_grad()
    def select_action(self, batch: dict[str, Tensor], noise: Tensor | None = None, **kwargs: Any) -> Tensor:
        """As SmolVLA's. Every call's world-camera frame is remembered, also while the action queue is not empty."""
        if self.config.world_memory_mode_rollout != "pred":
            memory = self._rollout_memory(batch, None) if self._check_get_actions_condition() else None
        else:
            self._push_frame(batch[self.config.world_camera])
            memory = None
            if self._check_get_actions_condition():
                frames = torch.stack(list(self._frames), dim=1)
                memory = self._rollout_memory({**batch, FRAMES: frames}, None)
        with self._remember(memory):
            return super().select_action(batch, noise, **kwargs)

    def reset(self) -> None:
        """Forget the action queue and the frames: call it at the start of every episode."""
        super().reset()
        self._frames: deque[Tensor] = deque(maxlen=self.config.world_frames)

    def _push_frame(self, frame: Tensor) -> None:
        """Remember a frame (B, 3, H, W); before the first one the history is filled with it, as in the cache."""
        frame = frame[:, -1] if frame.ndim == 5 else frame
        while len(self._frames) < self.config.world_frames - 1:
            self._frames.append(frame)
        self._frames.append(frame)

    def _standardise(self, latents: Tensor) -> Tensor:
        return (latents.to(self.world_mean) - self.world_mean) / self.world_std

    def _training_memory(self, history: Tensor, prediction: Tensor) -> Tensor:
        if self.config.world_memory_mode_train == "zero":
            return torch.zeros_like(prediction)
        return future_from_delta(history, prediction, self.config.delta_prediction)

    def _rollout_memory(self, batch: dict[str, Tensor], noise: Tensor | None) -> Tensor:
        """The memory (B, K, D) for the queries in ``batch``."""
        self.eval()
        mode = self.config.world_memory_mode_rollout
        shape = (batch[OBS_STATE].shape[0], self.config.future_offset, self.config.world_latent_dim)
        if mode == "zero":
            return torch.zeros(shape, device=self.world_mean.device)
        if mode == "random":
            noise = random_memory(shape, None) if noise is None else noise
            return noise.to(self.world_mean)
        history = self._standardise(self._world_encoder().encode_windows(batch[FRAMES], self.config.window))
        memory = future_from_delta(history, self.prophet(history), self.config.delta_prediction)
        if not torch.isfinite(memory).all():
            raise FloatingPointError("The predicted world memory is not finite; no action is made from it.")
        return memory

    def _world_encoder(self) -> WorldEncoder:
        if not self._encoder:
            encoder = WorldEncoder(self.config.world_vision_model_name, self.world_mean.device)
            if encoder.width != self.config.world_latent_dim:
                raise UserError(
                    f"The world encoder {self.config.world_vision_model_name!r} gives latents of width {encoder.width},"
                    f" but policy.world_latent_dim = {self.config.world_latent_dim}."
                )
            self._encoder.append(encoder)
        return self._encoder[0]

    @contextmanager
    def _remember(self, memory: Tensor | None) -> Iterator[None]:
        """While the block runs, the action expert reads ``memory``."""
        outer, self._memory = self._memory, memory if memory is not None else self._memory
        try:
            yield
        finally:
            self._memory = outer

    def _inject(self, _module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        assert self._memory is not None, "the action expert ran without a memory"
        return (self.world_injection(inputs[0], self._memory), *inputs[1:])
