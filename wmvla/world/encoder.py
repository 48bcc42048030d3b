"""The frozen world encoder: a V-JEPA 2 over clips of m frames, mean-pooled to one latent per clip."""

import hashlib

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModel

from wmvla.errors import UserError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class WorldEncoder(nn.Module):
    """Clips of frames to latents. One preprocessing serves the cache and the rollout.

    Args:
        name: folder or hub id of a V-JEPA 2.
        device: where it runs.

    Raises:
        UserError: the model is not a V-JEPA 2, or is neither a folder nor in the hub cache.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, device: torch.device | str = "cpu") -> None:
        super().__init__()
        try:
            config = AutoConfig.from_pretrained(name)
            model = AutoModel.from_pretrained(name)
        except OSError as error:
            raise UserError(
                f"The world encoder {name!r} is neither a folder nor on the hub: set"
                f" policy.world_vision_model_name ({str(error).splitlines()[0]})."
            ) from error
        if config.model_type != "vjepa2":
            raise UserError(
                f"The world encoder {name!r} is a {config.model_type}, not a vjepa2: set policy.world_vision_model_name."
            )
        self.size: int = config.crop_size
        self.width: int = config.hidden_size
        self.model = model.to(device).eval().requires_grad_(False)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN, device=device).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD, device=device).view(1, 3, 1, 1))

    def preprocess(self, frames: Tensor) -> Tensor:
        """Frames (N, 3, H, W), uint8 or float in [0, 1] -> normalised (N, 3, size, size)."""
        frames = frames.to(self.mean.device)
        frames = frames.float() / 255 if frames.dtype == torch.uint8 else frames.float()
        if frames.shape[-2:] != (self.size, self.size):
            frames = functional.interpolate(
                frames, (self.size, self.size), mode="bilinear", antialias=True, align_corners=False
            )
        return (frames - self.mean) / self.std

    @torch.no_grad()
    def encode(self, clips: Tensor) -> Tensor:
        """Preprocessed clips (N, m, 3, size, size) -> latents (N, D): the mean over all tokens of the encoder half.

        Non-obvious: ``get_vision_features`` skips the predictor half, which ``forward`` would run for nothing.
        """
        return self.model.get_vision_features(clips).mean(dim=1).float()

    def encode_windows(self, frames: Tensor, window: int) -> Tensor:
        """Consecutive frames (B, T + m - 1, 3, H, W) -> latents (B, T, D) of the T windows of m frames."""
        batch, length = frames.shape[:2]
        prepared = self.preprocess(frames.flatten(0, 1)).unflatten(0, (batch, length))
        clips = prepared.unfold(1, window, 1).movedim(-1, 2)
        return self.encode(clips.flatten(0, 1)).unflatten(0, (batch, length - window + 1))

    def fingerprint(self) -> str:
        """Hash of the weights, 16 hex digits: tells whether a latent cache and a rollout used the same encoder."""
        digest = hashlib.sha256()
        for key, value in sorted(self.model.state_dict().items()):
            digest.update(key.encode())
            digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:16]
