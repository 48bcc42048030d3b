"""``smolvla_world``: LeRobot's SmolVLA with a world memory beside it."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from lerobot.utils.constants import (
    ACTION,
    OBS_LANGUAGE_ATTENTION_MASK,
    OBS_LANGUAGE_TOKENS,
    OBS_STATE,
)
from torch import Tensor, nn

from wmvla.errors import UserError
from wmvla.policy.configuration_smolvla_world import SmolVLAWorldConfig
from wmvla.policy.diagnostics import as_floats, memory_diagnostics
from wmvla.policy.fusion import fuse
from wmvla.policy.processor_smolvla_world import FUTURE, HISTORY, VALID
from wmvla.policy.start import (
    asked_cache,
    check_training_batch,
    load_own_weights,
    take_first_weights,
)
from wmvla.world.encoder import WorldEncoder
from wmvla.world.memory import another_sample, hold, random_memory, spread
from wmvla.world.prophet import ImaginationBank, bank_loss

FRAMES = "world_frames"
"""Rollout: the last T + m - 1 frames of C world cameras, (B, C, T + m - 1, 3, H, W) in [0, 1]."""
MEMORY_NOISE = "world_memory_noise"
"""Training: standard normal (B, M, D) for memory ``random`` and the bank; else from torch's own."""
MEMORY_ORDER = "world_memory_order"
"""Training: for each sample (B,) the one whose future ``shuffle`` takes; by default drawn."""


class SmolVLAWorldPolicy(SmolVLAPolicy):
    """SmolVLA that reads predicted world latents through gated paths (``wmvla.policy.fusion``).

    Non-obvious: the parameters that SmolVLA has keep their names, and with all gates at 0 the
    policy is SmolVLA bit for bit.
    """

    config_class = SmolVLAWorldConfig
    name = "smolvla_world"

    def __init__(self, config: SmolVLAWorldConfig, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        width = config.world_latent_dim
        self.prophet = ImaginationBank(
            config.world_num_hypotheses,
            config.world_hypothesis_method,
            width,
            config.context_frames,
            config.future_offset,
            config.prophet_layers,
            config.prophet_heads,
            config.prophet_dropout,
        )
        self.world_fusion = fuse(self.model, config)
        # Until a checkpoint or the latent cache gives them.
        unknown = torch.nan if config.world_standardise else 0.0
        self.register_buffer("world_mean", torch.full((width,), unknown))
        self.register_buffer("world_std", torch.full((width,), unknown + 1))
        # In a list, so that its weights stay out of the checkpoint.
        self._encoder: list[WorldEncoder] = []
        self.ready_to_train = False  # set by the first training batch, once it was checked
        take_first_weights(self, self.config)

    @classmethod
    def _load_as_safetensor(
        cls, model: "SmolVLAWorldPolicy", model_file: str, map_location: str, strict: bool
    ) -> "SmolVLAWorldPolicy":
        """LeRobot's hook of ``from_pretrained``: strict always, for a missing part goes unseen."""
        load_own_weights(model, Path(model_file))
        return model

    def world_parameters(self) -> dict[str, list[nn.Parameter]]:
        """The parameters that SmolVLA does not have, by the log name of their gradient's norm."""
        parts = {"grad_world_inject": self.world_fusion, "grad_prophet": self.prophet}
        return {name: list(part.parameters()) for name, part in parts.items()}

    def set_world_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Latents are standardised with these (D,), unless ``world_standardise`` is off."""
        if self.config.world_standardise:
            self.world_mean.copy_(mean)
            self.world_std.copy_(std.clamp_min(1e-6))

    def take_statistics(self) -> None:
        """Latents are standardised with the checkpoint's statistics, or else with those of the
        policy's cache. UserError: neither is there."""
        if self.config.world_standardise and not torch.isfinite(self.world_std).all():
            self.set_world_statistics(*asked_cache(self.config).statistics())

    def forward(
        self,
        batch: dict[str, Tensor],
        noise: Tensor | None = None,
        time: Tensor | None = None,
        reduction: str = "mean",
    ) -> tuple[Tensor, dict[str, Any]]:
        """Flow-matching loss plus ``lambda_world`` times the world loss.

        ``batch``: as SmolVLA's, plus history (B, T, D), future (B, K, D) and validity (B, K) from
        the latents step. With ``reduction`` ``mean`` a scalar and details as floats, which is what
        LeRobot's own training logs, at the price of one copy to the host. With ``none`` one loss
        per sample (B,) and detached tensors, and ``action_loss_per_sample`` and
        ``world_loss_per_sample`` (B,) with gradient.
        """
        if not self.ready_to_train:
            check_training_batch(self.config, batch)
            self.take_statistics()
            self.ready_to_train = True
        mode, valid = self.config.world_memory_mode_train, batch[VALID]
        history, future = self._standardise(batch[HISTORY]), self._standardise(batch[FUTURE])
        shape = self.memory_noise_shape(len(history))
        memory_noise = batch.get(MEMORY_NOISE)
        if shape is not None and memory_noise is None:
            memory_noise = torch.randn(shape, device=history.device)
        bank = self.prophet(history, memory_noise)
        target = future - history[:, -1:] if self.config.delta_prediction else future
        world_losses, cosine = bank_loss(bank, target, valid, self.config.world_best_of_n)
        memory = self._memory(mode, history, future, bank, memory_noise, batch.get(MEMORY_ORDER))
        with self._remember(memory.detach() if self.config.world_detach_memory else memory):
            action_losses, counts = self._action_losses(batch, noise, time)
            details = memory_diagnostics(self.world_fusion, history, future, cosine, valid)
        if reduction == "none":
            per_sample = action_losses / counts.clamp_min(1)
            details |= {"action_loss_per_sample": per_sample, "world_loss_per_sample": world_losses}
            return per_sample + self.config.lambda_world * world_losses, details
        action_loss = action_losses.sum() / counts.sum().clamp_min(1)
        world_loss = world_losses.mean()
        loss = action_loss + self.config.lambda_world * world_loss
        means = {"action_loss": action_loss, "world_loss": world_loss, "loss_total": loss}
        return loss, as_floats(details | means)

    def _action_losses(
        self, batch: dict[str, Tensor], noise: Tensor | None, time: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Per sample the sum of the flow's squared errors inside the episode (B,), and how many.

        Non-obvious: SmolVLA's own ``forward`` copies its loss to the host four times, and a GPU
        waits each time.
        """
        if self.config.adapt_to_pi_aloha:
            batch[OBS_STATE] = self._pi_aloha_decode_state(batch[OBS_STATE])
            batch[ACTION] = self._pi_aloha_encode_actions_inv(batch[ACTION])
        images, masks = self.prepare_images(batch)
        tokens, token_masks = batch[OBS_LANGUAGE_TOKENS], batch[OBS_LANGUAGE_ATTENTION_MASK]
        state, actions = self.prepare_state(batch), self.prepare_action(batch)
        losses = self.model.forward(images, masks, tokens, token_masks, state, actions, noise, time)
        losses = losses[:, :, : self.config.action_feature.shape[0]]
        padded = batch.get("action_is_pad")
        inside = torch.ones_like(losses[:, :, 0], dtype=torch.bool) if padded is None else ~padded
        return (losses * inside[:, :, None]).sum((1, 2)), inside.sum(1) * losses.shape[2]

    @torch.no_grad()
    def predict_action_chunk(
        self,
        batch: dict[str, Tensor],
        noise: Tensor | None = None,
        memory_noise: Tensor | None = None,
        memory: Tensor | None = None,
        history: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """As SmolVLA's; if ``config.needs_frames`` the batch carries ``world_frames``, or their
        latents ``history`` (B, T, D) are given, as ``encode_history`` makes them. ``memory_noise``:
        of ``memory_noise_shape``; by default from torch's generator. ``memory`` (B, M, D), from
        ``memory_from_latents``, takes the place of the rollout mode's."""
        self.eval()
        if memory is None:
            memory = self._rollout_memory(batch, memory_noise, history)
        with self._remember(_finite(memory)):
            return super().predict_action_chunk(batch, noise, **kwargs)

    @torch.no_grad()
    def select_action(
        self, batch: dict[str, Tensor], noise: Tensor | None = None, **kwargs: Any
    ) -> Tensor:
        """As SmolVLA's. Every call's world-camera frames are remembered, also between queries."""
        if self.config.needs_frames:
            self._push_frames([batch[key] for key in self.config.world_camera_keys])
        if not self._check_get_actions_condition():
            return super().select_action(batch, noise, **kwargs)
        frames = {}
        if self.config.needs_frames:
            frames[FRAMES] = torch.stack(list(self._frames), dim=2)
        self.eval()
        with self._remember(_finite(self._rollout_memory({**batch, **frames}, None))):
            return super().select_action(batch, noise, **kwargs)

    def reset(self) -> None:
        """Forget the action queue and the frames: call it at the start of every episode."""
        super().reset()
        self._frames: deque[Tensor] = deque(maxlen=self.config.world_frames)

    def memory_noise_shape(self, batch_size: int) -> tuple[int, int, int] | None:
        """Shape (B, M, D) of the noise that the current mode asks for, if it does."""
        config = self.config
        mode = config.world_memory_mode_train if self.training else config.world_memory_mode_rollout
        varied = self.prophet.needs_noise and (self.training or mode == "pred")
        shape = (batch_size, config.memory_tokens, config.world_latent_dim)
        return shape if varied or mode == "random" else None

    @torch.no_grad()
    def memory_from_latents(
        self, mode: str, history: Tensor, future: Tensor, noise: Tensor | None = None
    ) -> Tensor:
        """The memory (B, M, D) of any mode but ``shuffle``, from recorded history (B, T, D) and
        future (B, K, D), as the cache has them, and ``noise`` (B, M, D), if it is needed."""
        history, future = self._standardise(history), self._standardise(future)
        return self._memory(mode, history, future, self.prophet(history, noise), noise, None)

    def _memory(
        self,
        mode: str,
        history: Tensor,
        future: Tensor | None,
        bank: Tensor | None,
        noise: Tensor | None,
        order: Tensor | None,
    ) -> Tensor:
        """The memory (B, M, D) from standardised latents and the bank's hypotheses (B, N, K, D)."""
        tokens = self.config.memory_tokens
        if mode == "zero":
            return history.new_zeros(len(history), tokens, history.shape[-1])
        if mode == "random":
            assert noise is not None
            return noise.to(history)
        if mode == "hold":
            return hold(history, tokens)
        if mode == "history":
            return spread(history, tokens)
        if mode == "pred":
            assert bank is not None
            bank = history[:, None, -1:] + bank if self.config.delta_prediction else bank
            return bank.flatten(1, 2)
        assert future is not None
        if mode == "shuffle":
            if len(future) < 2:
                raise UserError(
                    "policy.world_memory_mode_train = 'shuffle' needs batches of at least 2"
                    " samples."
                )
            order = another_sample(len(future), None) if order is None else order
            future = future[order.to(future.device)]
        return future.repeat(1, self.config.world_num_hypotheses, 1)

    def _standardise(self, latents: Tensor) -> Tensor:
        return (latents.to(self.world_mean) - self.world_mean) / self.world_std

    def _rollout_memory(
        self, batch: dict[str, Tensor], noise: Tensor | None, history: Tensor | None = None
    ) -> Tensor:
        """The memory (B, M, D) for the queries in ``batch``, whose ``history`` may be known."""
        config = self.config
        shape = self.memory_noise_shape(batch[OBS_STATE].shape[0])
        if shape is not None:
            noise = (random_memory(shape, None) if noise is None else noise).to(self.world_mean)
        if config.needs_frames:
            self.take_statistics()
            history = self._standardise(self.encode_history(batch) if history is None else history)
        else:  # only its shape is looked at
            history = self.world_mean.expand(batch[OBS_STATE].shape[0], 1, -1)
        mode = config.world_memory_mode_rollout
        bank = self.prophet(history, noise) if mode == "pred" else None
        return self._memory(mode, history, None, bank, noise, None)

    def encode_history(self, batch: dict[str, Tensor]) -> Tensor:
        """Latents (B, T, D) of the batch's ``world_frames``, as the cache has them."""
        return self.world_encoder().encode_windows(batch[FRAMES], self.config.window)

    def _push_frames(self, cameras: list[Tensor]) -> None:
        """Remember one step's frames, each (B, 3, H, W); the first also fills the history."""
        newest = [frame[:, -1] if frame.ndim == 5 else frame for frame in cameras]
        frames = torch.stack(newest, dim=1)
        while len(self._frames) < self.config.world_frames - 1:
            self._frames.append(frames)
        self._frames.append(frames)

    def world_encoder(self) -> WorldEncoder:
        """The frozen encoder of ``world_vision_model_name``, loaded when it is first asked for.
        UserError: it is not the one that made the latents of the training."""
        if not self._encoder:
            name, wanted = self.config.world_vision_model_name, self.config.world_latent_dim
            encoder = WorldEncoder(name, self.world_mean.device)
            width = encoder.width * len(self.config.world_camera_keys)
            if width != wanted:
                raise UserError(
                    f"The world encoder {name!r} gives latents of width {width}, but"
                    f" policy.world_latent_dim = {wanted}."
                )
            if self.config.world_encoder_hash not in ("", encoder.fingerprint()):
                raise UserError(
                    f"The world encoder {name!r} is not the one that"
                    " made the latents of the training (other weights): set"
                    " policy.world_vision_model_name."
                )
            self._encoder.append(encoder)
        return self._encoder[0]

    @contextmanager
    def _remember(self, memory: Tensor) -> Iterator[None]:
        """While the block runs, the fusion paths read ``memory``."""
        outer, self.world_fusion.memory = self.world_fusion.memory, memory
        try:
            yield
        finally:
            self.world_fusion.memory = outer


def _finite(memory: Tensor) -> Tensor:
    """``memory``, which must be finite: 0 * NaN is NaN, so that no closed gate keeps it out."""
    if not torch.isfinite(memory).all():
        raise FloatingPointError("The world memory is not finite; no action is made from it.")
    return memory
