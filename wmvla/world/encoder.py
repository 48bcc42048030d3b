"""The frozen world encoder: clips of m camera frames to one latent each, by V-JEPA 2 or DINOv2.

V-JEPA 2 sees the m frames of a clip together; its latent is the mean over all tokens of the encoder
half. DINOv2 sees a single frame (m = 1); its latent is the mean over the *patch* tokens, without
the class token and the registers. So in both a latent averages over places of the image (and times
of the clip), and nothing that V-JEPA 2 has no counterpart of is mixed in.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoVideoProcessor

from wmvla.errors import UserError, cause
from wmvla.files import why_unreadable

VIDEO_MODELS = ("vjepa2",)
IMAGE_MODELS = ("dinov2", "dinov2_with_registers")
POOLING = {
    "vjepa2": "mean over all tokens",
    **dict.fromkeys(IMAGE_MODELS, "mean over patch tokens"),
}
TOLERANCE = 1e-3
"""How far outside [0, 1] a float pixel may lie by rounding."""
PREPROCESSING = (
    *("do_resize", "size", "resample", "do_center_crop", "crop_size"),
    *("do_rescale", "rescale_factor", "do_normalize", "image_mean", "image_std"),
)
"""Settings of a transformers processor that decide what the model sees."""


class WorldEncoder(nn.Module):
    """Clips of frames to latents. One preprocessing, that of the model's own processor, serves the
    cache and the rollout.

    Args:
        name: folder or hub id of a V-JEPA 2 or a DINOv2, with its processor.
        device: where it runs, in float32.

    Raises:
        UserError: another kind of model; neither a folder nor in the hub cache; damaged, or with
            weights that are missing or not its own, of which some would be random at every load.
    """

    def __init__(self, name: str, device: torch.device | str = "cpu") -> None:
        super().__init__()
        try:
            config = AutoConfig.from_pretrained(name)
            self.kind: str = config.model_type
            if self.kind not in POOLING:
                raise UserError(
                    f"The world encoder {name!r} is a {self.kind}, not one of {', '.join(POOLING)}:"
                    " set policy.world_vision_model_name."
                )
            kind_of_processor = (
                AutoVideoProcessor if self.kind in VIDEO_MODELS else AutoImageProcessor
            )
            self.processor = kind_of_processor.from_pretrained(name)
            model, loaded = AutoModel.from_pretrained(
                name, dtype=torch.float32, output_loading_info=True
            )
        except UserError:
            raise
        except Exception as error:
            raise UserError(_unusable(name, error)) from error
        _refuse_random_weights(name, loaded)
        self.name = name
        commit = getattr(config, "_commit_hash", None)
        self.revision: str | None = None if Path(name).exists() else commit
        self.width: int = config.hidden_size
        self.pooling = POOLING[self.kind]
        self.model = model.to(device).eval().requires_grad_(False)

    def preprocess(self, frames: Tensor) -> Tensor:
        """Frames (N, 3, H, W), uint8 or float in [0, 1] -> what the model sees, (N, 3, h, w).

        Non-obvious: floats go back to the 8 bits that a camera gives. The processor resizes bytes
        to bytes, so that frames of a dataset (bytes) and of a rollout (the same bytes / 255) end in
        the same numbers.

        FloatingPointError: floats that are not finite or lie outside [0, 1], which as bytes would
        look like a picture.
        """
        frames = frames.to(self.model.device)
        if frames.dtype != torch.uint8:
            low, high = frames.aminmax()
            if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):
                raise FloatingPointError(
                    f"A world camera's frame is not finite or not in [0, 1] (it spans {low:.3g} to"
                    f" {high:.3g}): no latent is made from it."
                )
            frames = (frames * 255).round().clamp(0, 255).to(torch.uint8)
        if self.kind in VIDEO_MODELS:
            return self.processor(videos=[frames], return_tensors="pt")["pixel_values_videos"][0]
        return self.processor(images=list(frames), return_tensors="pt")["pixel_values"]

    @torch.no_grad()
    def encode(self, clips: Tensor) -> Tensor:
        """Preprocessed clips (N, m, 3, h, w) -> latents (N, D), float32.

        Non-obvious: ``get_vision_features`` skips the predictor half, which is not needed.
        """
        self.check_window(clips.shape[1])
        if self.kind in VIDEO_MODELS:
            return self.model.get_vision_features(clips).mean(dim=1).float()
        # the class token comes first, then the registers, then the patches
        others = 1 + getattr(self.model.config, "num_register_tokens", 0)
        return self.model(clips[:, 0]).last_hidden_state[:, others:].mean(dim=1).float()

    def encode_windows(self, frames: Tensor, window: int) -> Tensor:
        """Consecutive frames (B, C, T + m - 1, 3, H, W) of C cameras -> latents (B, T, C * D) of
        the T windows of m frames, side by side in the frames' order: front, then wrist."""
        leading = frames.shape[:3]
        prepared = self.preprocess(frames.flatten(0, 2)).unflatten(0, leading)
        clips = prepared.unfold(2, window, 1).movedim(-1, 3)
        latents = self.encode(clips.flatten(0, 2)).unflatten(0, clips.shape[:3])
        return latents.transpose(1, 2).flatten(2)

    def check_window(self, window: int) -> None:
        """UserError for windows that the model would not see whole: DINOv2 sees one frame; V-JEPA 2
        takes tubelets of two, repeats a single frame, and of an odd number would silently drop the
        last, the newest one."""
        if self.kind in IMAGE_MODELS and window != 1:
            raise UserError(
                f"The world encoder {self.name!r} sees single frames, but the window is {window}:"
                " set policy.latent_suffix to 'm1'."
            )
        tubelet = getattr(self.model.config, "tubelet_size", 1)
        if window > 1 and window % tubelet:
            raise UserError(
                f"The world encoder {self.name!r} takes frames in groups of {tubelet}, and would"
                f" drop the newest of a window of {window}: set policy.latent_suffix to a multiple"
                f" of {tubelet}, or to 'm1'."
            )

    def fingerprint(self) -> str:
        """Hash of weights and preprocessing, 16 hex digits: whether two encoders are the same."""
        settings = json.loads(self.processor.to_json_string())
        seen = {key: settings.get(key) for key in PREPROCESSING}
        described = json.dumps([self.kind, self.pooling, seen], sort_keys=True)
        digest = hashlib.sha256(described.encode())
        for key, value in sorted(self.model.state_dict().items()):
            digest.update(key.encode())
            digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:16]


def _unusable(name: str, error: Exception) -> str:
    """One sentence about an encoder that transformers does not load."""
    folder = Path(name)
    for file in sorted([*folder.glob("*.json"), *folder.glob("*.safetensors")]):
        if "Git LFS" in (reason := why_unreadable(file, error)):
            return reason
    where = "cannot be loaded" if folder.is_dir() else "is neither a folder nor on the hub"
    return (
        f"The world encoder {name!r} {where}: set policy.world_vision_model_name ({cause(error)})."
    )


def _refuse_random_weights(name: str, loaded: dict[str, Any]) -> None:
    faults = [
        f"{words} {len(keys)} weights ({', '.join(sorted(keys)[:3])}{', ...' if keys[3:] else ''})"
        for words, keys in (
            ("lack", list(loaded["missing_keys"])),
            ("have, and the model has not,", list(loaded["unexpected_keys"])),
        )
        if keys
    ]
    if faults:
        raise UserError(
            f"The files of the world encoder {name!r} {' and '.join(faults)}: what is missing would"
            " be random; give a whole one as policy.world_vision_model_name."
        )
