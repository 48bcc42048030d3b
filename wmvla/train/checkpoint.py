"""Checkpoints in LeRobot's layout, written atomically: ``<step>/pretrained_model`` and
``training_state``."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from lerobot.policies.pretrained import PreTrainedPolicy
from lerobot.processor import PolicyProcessorPipeline
from torch import Tensor

from wmvla.files import new_folder


def step_folder(folder: Path, step: int) -> Path:
    """Where the checkpoint of ``step`` lies."""
    return folder / f"{step:06d}"


def pretrained_folder(folder: Path, step: int) -> Path:
    """The part of a checkpoint that stock LeRobot loads."""
    return step_folder(folder, step) / "pretrained_model"


def latest_step(folder: Path) -> int:
    """The newest finished checkpoint's step; 0 if there is none."""
    steps = (int(path.name) for path in folder.glob("[0-9]*") if path.name.isdigit())
    return max(steps, default=0)


def save_checkpoint(
    folder: Path,
    step: int,
    policy: PreTrainedPolicy,
    processors: tuple[PolicyProcessorPipeline, PolicyProcessorPipeline],
    optimizer_state: dict[str, Any],
    weights: dict[str, Tensor] | None = None,
) -> None:
    """Write the checkpoint of ``step``, durably, then remove the older ones; ``weights``: the
    policy's, if it holds only a share."""
    with new_folder(step_folder(folder, step)) as unfinished:
        pretrained = unfinished / "pretrained_model"
        policy.save_pretrained(pretrained, state_dict=weights)
        for processor in processors:
            processor.save_pretrained(pretrained)
        state = unfinished / "training_state"
        state.mkdir()
        (state / "training_step.json").write_text(json.dumps({"step": step}))
        # Through memory: torch's own writer hides a full disk behind an internal error. By value:
        # a view that an error keeps alive makes Python 3.12's garbage collection crash.
        packed = io.BytesIO()
        torch.save(optimizer_state, packed)
        (state / "optimizer.pt").write_bytes(packed.getvalue())
    remove_older(folder, step)


def remove_older(folder: Path, step: int) -> None:
    """Remove the checkpoints before ``step``, and what a killed training left of unfinished
    ones."""
    for other in [*folder.glob("[0-9]*"), *folder.glob(".[0-9]*-*")]:
        if not other.name.isdigit() or int(other.name) < step:
            shutil.rmtree(other, ignore_errors=True)


def load_optimizer_state(folder: Path, step: int) -> dict[str, Any]:
    """What ``save_checkpoint`` was given as ``optimizer_state``."""
    return torch.load(
        step_folder(folder, step) / "training_state" / "optimizer.pt", weights_only=True, mmap=True
    )
