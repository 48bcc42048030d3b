"""The file of cached vision features: one camera, one row per dataset frame."""

import hashlib
import json
import re
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lerobot.datasets import LeRobotDatasetMetadata
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from lerobot.utils.feature_utils import dataset_to_policy_features
from torch import Tensor

from wmvla.data.frames import dataset_fingerprint
from wmvla.errors import UserError
from wmvla.files import sync_folder, write_json
from wmvla.policy.frozen_vision import encode_images, vision_hash
from wmvla.world.latents.file import read_layout
from wmvla.world.latents.partial import Partial, remove_records

STORED: dict[torch.dtype, np.dtype] = {
    torch.float32: np.dtype("<f4"),
    torch.bfloat16: np.dtype("<i2"),
}
"""How numpy, which knows no bf16, stores a feature's type: bf16 as the same 16 bits."""


@dataclass(frozen=True)
class FeatureFile:
    """Features (``rows``, ``tokens``, ``width``) of ``camera``, the policy's ``key``."""

    folder: Path
    camera: str
    key: str
    rows: int
    tokens: int
    width: int
    dtype: torch.dtype
    made_of: dict[str, Any]
    """All that decides the content, in JSON's types."""

    @property
    def path(self) -> Path:
        """Its name carries a hash of all that decides its content: no stale file is ever found."""
        key = hashlib.sha256(json.dumps(self.made_of, sort_keys=True).encode()).hexdigest()[:16]
        camera = re.sub(r"[^\w-]", "_", self.camera.removeprefix("observation.images."))
        return self.folder / f"vision_features_{camera}_{key}.npy"

    @property
    def metadata(self) -> Path:
        """The JSON beside it: ``made_of``, for people, and against files under a wrong name."""
        return self.path.with_suffix(".json")

    @property
    def stored(self) -> np.dtype:
        """The type on disk."""
        return STORED[self.dtype]

    def finish(self, unfinished: Partial) -> None:
        """Metadata, then the file under its name, without records: any kill can be continued."""
        write_json(self.metadata, self.made_of)
        unfinished.partial.replace(self.path)
        remove_records(self.path)
        sync_folder(self.path.parent)

    def open(self) -> "OpenFeatures":
        """The finished file. UserError: damaged, or another file than its name says."""
        layout = read_layout(self.path, self.stored)
        try:
            found = json.loads(self.metadata.read_text())
        except (OSError, ValueError) as error:
            raise UserError(
                f"{self.metadata} cannot be read ({error}): delete it and {self.path.name}."
            ) from error
        size = self.rows, self.tokens * self.width
        if found != self.made_of or (layout.rows, layout.width) != size:
            raise UserError(
                f"{self.path} is not the file that its name says: delete it and "
                f"{self.metadata.name}."
            )
        return OpenFeatures(self, np.asarray(np.load(self.path, mmap_mode="r")))


@dataclass(frozen=True)
class OpenFeatures:
    """A feature file, mapped into memory."""

    file: FeatureFile
    mapped: np.ndarray

    def read(self, rows: np.ndarray) -> Tensor:
        """Features of ``rows`` (B,): (B, tokens, width)."""
        found = torch.from_numpy(self.mapped[rows])
        return found.view(self.file.dtype).view(len(rows), self.file.tokens, self.file.width)


def describe(
    folder: Path,
    camera: str,
    key: str,
    policy: SmolVLAPolicy,
    precision: str,
    metadata: LeRobotDatasetMetadata,
) -> FeatureFile:
    """The file of one camera; one black image is encoded to learn shape and type."""
    image = dataset_to_policy_features(metadata.features)[camera].shape
    black = torch.zeros(1, *image, device=policy.config.device)
    features = encode_images(policy, key, black, precision)
    rows, (_, tokens, dimensions) = int(metadata.total_frames), features.shape
    made_of = {
        "dataset": dataset_fingerprint(metadata),
        "camera": camera,
        "image": list(image),
        "vision": vision_hash(policy),
        "resize": list(policy.config.resize_imgs_with_padding or []),
        "precision": precision,
        "type": str(features.dtype).removeprefix("torch."),
        "shape": [rows, tokens, dimensions],
        "code": [f"{name} {version(name)}" for name in ("lerobot", "transformers")],
    }
    return FeatureFile(folder, camera, key, rows, tokens, dimensions, features.dtype, made_of)
