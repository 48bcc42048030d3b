"""``lerobot-wm-latents``: encode every frame of a LeRobotDataset once, or check given latents.

Exit code 0: the latents are there, or fine. 1: the checked file cannot be used. 2: bad usage or
input, one line.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed
from transformers.utils.logging import disable_progress_bar

from wmvla.checkout import require_own_code
from wmvla.commands.flags import parse_flags
from wmvla.data.frames import DatasetFrames
from wmvla.errors import UserError, answer
from wmvla.policy.configuration_smolvla_world import window_of
from wmvla.world.encoder import WorldEncoder
from wmvla.world.latents.cache import latents_path, metadata_path, read_metadata
from wmvla.world.latents.check import Asked, Finding, check_latents
from wmvla.world.latents.writer import BATCH_ROWS, write_latents

PROGRAM = "lerobot-wm-latents"
ENCODERS = {"vjepa": "facebook/vjepa2-vitg-fpc64-256", "dino": "facebook/dinov2-base"}
"""What encodes when ``--policy.world_vision_model_name`` is not given."""


@dataclass(frozen=True)
class DatasetFlags:
    """The dataset whose frames are encoded."""

    repo_id: str = ""  # name of the dataset on the hub or below root
    root: str | None = None  # folder of the dataset; default: LeRobot's own cache


@dataclass(frozen=True)
class PolicyFlags:
    """The policy's fields that name and shape its latents."""

    dataset_repo_id: str = ""  # folder of the latents below cache_dir; default: dataset.repo_id
    # latents lie in <cache_dir>/<dataset_repo_id>/train_world_latents_<source>_<suffix>.fp16.npy
    cache_dir: str = "cache"
    world_latents_source: str = "vjepa"  # vjepa, dino or any other name
    latent_suffix: str = "m4"  # m<window>, m<window>_wrist or m<window>_both
    world_rollout_temporal_window: int = 0  # frames of one clip; 0: from the suffix
    world_camera: str = ""  # front, wrist or both; default: from the suffix, or else front
    # V-JEPA 2 or DINOv2, a folder or hub id; with --check and a dataset: compare 16 rows with it
    world_vision_model_name: str = ""
    world_latent_dim: int = 0  # with --check: the width to expect; 0: any


@dataclass(frozen=True)
class LatentsFlags:
    """Encode every frame of a LeRobotDataset once, or check a file of latents."""

    dataset: DatasetFlags = field(default_factory=DatasetFlags)
    policy: PolicyFlags = field(default_factory=PolicyFlags)
    batch_size: int = BATCH_ROWS  # rows encoded together
    device: str = ""  # default: cuda where there is one, else cpu
    check: bool = False  # look at an existing file; with --dataset.repo_id: and write its metadata

    @property
    def path(self) -> Path:
        """Where the latents lie."""
        repo_id = self.policy.dataset_repo_id or self.dataset.repo_id
        if not repo_id:
            raise UserError(f"--dataset.repo_id is missing (see {PROGRAM} --help)")
        policy = self.policy
        return latents_path(
            Path(policy.cache_dir), repo_id, policy.world_latents_source, policy.latent_suffix
        )

    @property
    def window(self) -> int:
        """Frames of one clip, m."""
        return window_of(self.policy.latent_suffix, self.policy.world_rollout_temporal_window)

    @property
    def camera(self) -> str:
        """``front``, ``wrist`` or ``both``."""
        named, asked = self.policy.latent_suffix.rpartition("_")[2], self.policy.world_camera
        named = named if named in ("front", "wrist", "both") else "front"
        if asked not in ("", named):
            name = f"m{self.window}" + ("" if asked == "front" else f"_{asked}")
            raise UserError(
                f"policy.world_camera = {asked!r} contradicts"
                f" policy.latent_suffix = {self.policy.latent_suffix!r}: call it {name}."
            )
        return named

    def open_frames(self) -> DatasetFrames | None:
        """The dataset, if one is given."""
        name, root = self.dataset.repo_id, self.dataset.root
        return DatasetFrames(name, Path(root) if root else None, self.camera) if name else None

    def open_encoder(self) -> WorldEncoder:
        """The encoder on this process's device."""
        name = self.policy.world_vision_model_name or ENCODERS.get(self.policy.world_latents_source)
        if not name:
            raise UserError(
                "--policy.world_vision_model_name is missing: only the sources vjepa and dino "
                "have a default."
            )
        device = self.device or ("cuda" if torch.cuda.is_available() else "cpu")
        if device == "cuda" and "LOCAL_RANK" in os.environ:
            device = f"cuda:{int(os.environ['LOCAL_RANK']) % torch.cuda.device_count()}"
        return WorldEncoder(name, device)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    disable_progress_bar()
    return answer(lambda: make_or_check(sys.argv[1:] if arguments is None else arguments))


def make_or_check(arguments: Sequence[str]) -> int:
    require_own_code(sys.argv[0])
    flags = parse_flags(LatentsFlags, arguments, PROGRAM)
    if flags.batch_size < 1:
        raise UserError(f"--batch_size={flags.batch_size} must be at least 1.")
    return check(flags) if flags.check else make(flags)


def make(flags: LatentsFlags) -> int:
    """Make the latents, alone or as one process of ``torchrun``."""
    path, window, frames = flags.path, flags.window, flags.open_frames()
    if frames is None:
        raise UserError(f"--dataset.repo_id is missing (see {PROGRAM} --help)")
    together = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if together:
        # gloo, because nothing but barriers is exchanged; the first to finish waits for the slowest
        distributed.init_process_group("gloo", timeout=timedelta(days=7))
    write_latents(path, frames, flags.open_encoder(), window, flags.batch_size)
    if not together or distributed.get_rank() == 0:
        metadata = read_metadata(path)
        print(f"{path}: {metadata['rows']} x {metadata['width']} latents")
    if together:
        distributed.destroy_process_group()
    return 0


def check(flags: LatentsFlags) -> int:
    """Print what is in the file, and whether it can be used."""
    path = flags.path
    if not path.is_file():
        raise UserError(f"{path} does not exist: there is nothing to check.")
    encoder = flags.open_encoder() if flags.policy.world_vision_model_name else None
    width = flags.policy.world_latent_dim or None
    asked = Asked(flags.window, flags.camera, width, flags.open_frames(), encoder)
    finding = check_latents(path, asked)
    print(path)
    _print_figures(finding)
    if finding.objection:
        print(f"not usable: {finding.objection}")
        return 1
    if metadata_path(path).exists():
        print(f"usable; its metadata is in {metadata_path(path).name}")
    else:
        print(
            "no problem found; give --dataset.repo_id to compare it with the dataset and write "
            "the metadata it needs"
        )
    return 0


def _print_figures(finding: Finding) -> None:
    figures = finding.figures
    if figures is None:
        return
    lines = {
        "rows": figures.layout.rows,
        "width": figures.layout.width,
        "NaN or infinite": f"{figures.bad_values} values in {len(figures.bad_rows)} rows",
        "all-zero rows": len(figures.zero_rows),
        "mean cosine of neighbours": f"{figures.neighbour_cosine:.4f}",
    }
    if finding.agreement is not None:
        lines["agreement with the encoder"] = f"{finding.agreement:.4f}"
    for name, value in lines.items():
        print(f"  {name:<27} {value}")


if __name__ == "__main__":
    sys.exit(main())
