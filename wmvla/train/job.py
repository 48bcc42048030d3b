"""What one training run is to do, as a JSON file that every process reads."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wmvla.files import write_json
from wmvla.recipe import Training


@dataclass(frozen=True)
class TrainingJob:
    """One optimisation run.

    Non-obvious: exactly one of ``scratch`` and ``base`` is set. With ``scratch`` a new SmolVLA is
    made from these configuration fields; with ``base`` the run starts from that checkpoint, and
    ``world`` (if any) adds the world parts.
    """

    case: str
    dataset_root: str
    dataset_repo_id: str
    checkpoints: str
    metrics: str
    seed: int
    training: Training
    device: str = "cpu"
    """``cpu`` or ``cuda`` (which is also what torch calls an AMD GPU)."""
    precision: str = "fp32"
    """``fp32``, or ``bf16`` by autocast."""
    strategy: str = "ddp"
    """What the processes share (``wmvla.train.parallel.strategy``): ``ddp``, ``zero1``, ``zero2``,
    ``zero3`` or ``fsdp``."""
    accumulation_steps: int = 1
    """Parts in which a process works off its slice of a batch; they change memory, not losses."""
    vision_cache: str = ""
    """Folder of cached vision features (``wmvla.train.features``); empty: images are encoded."""
    trackers: tuple[str, ...] = ()
    """``tensorboard``, ``wandb``, or what else accelerate knows, beside the metrics file."""
    base: str = ""
    scratch: dict[str, Any] | None = None
    world: dict[str, Any] | None = None

    def write(self, path: Path) -> Path:
        """Write the job to ``path`` as JSON."""
        write_json(path, asdict(self))
        return path

    @classmethod
    def read(cls, path: Path) -> "TrainingJob":
        """The job in ``path``."""
        return cls.parse(path.read_text())

    @classmethod
    def parse(cls, text: str) -> "TrainingJob":
        """The job in the JSON that ``write`` wrote."""
        content = json.loads(text)
        training, trackers = Training(**content["training"]), tuple(content["trackers"])
        return cls(**{**content, "training": training, "trackers": trackers})
