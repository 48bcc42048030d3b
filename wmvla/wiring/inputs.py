"""What the wiring checks are given, and how they say that something is wired wrongly."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any


class WiringError(RuntimeError):
    """One sentence: what is wired wrongly. Nothing may be trained before it is fixed."""


@dataclass(frozen=True)
class WiringInputs:
    """The parts that a run is about to train from.

    ``base``: ``pretrained_model`` folder of the SmolVLA that every arm starts from.
    ``dataset_root``: None for the hub cache. ``world``: the fields of ``SmolVLAWorldConfig`` that
    ``add_world`` takes. ``device``: ``cpu`` or ``cuda``.
    """

    base: Path
    dataset_root: Path | None
    dataset_repo_id: str
    world: dict[str, Any]
    device: str
    seed: int


def expect(fact: bool, sentence: str) -> None:
    """Raise ``sentence`` as a WiringError unless ``fact`` holds."""
    if not fact:
        raise WiringError(sentence)
