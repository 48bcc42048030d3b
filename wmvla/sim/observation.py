"""What a simulation shows, and what every simulation, LIBERO's or our own, can be asked."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Observation:
    """``state`` (S,) float32; ``images``: per wanted camera (H, W, 3) uint8, as policies see it."""

    state: np.ndarray
    images: dict[str, np.ndarray]


@dataclass(frozen=True)
class StepResult:
    observation: Observation
    success: bool


class Simulation(Protocol):
    """One task. An episode depends on (task, initial state, seed) and the actions alone.

    ``cameras``: LeRobot's names, the front one first. ``renders``: images drawn so far.
    ``resets_are_cheap``: whether a reset keeps what was built at the start.
    """

    language: str
    resets_are_cheap: bool

    @property
    def cameras(self) -> tuple[str, ...]: ...

    @property
    def renders(self) -> int: ...

    def reset(self, init: int, env_seed: int, want: frozenset[str]) -> Observation:
        """Start an episode; cameras in ``want`` are drawn. UserError for an unknown ``init``."""
        ...

    def step(self, action: np.ndarray, want: frozenset[str]) -> StepResult:
        """Play one action (A,)."""
        ...

    def scene_hash(self) -> str:
        """Hash of the scene as realised by the last reset; equal where two episodes begin alike."""
        ...

    def close(self) -> None: ...
