"""What a simulation shows: the same for LIBERO and for every other one. Light, because every simulator process imports it."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Observation:
    """``state`` (8,) float32: end effector position (m), axis-angle (rad), finger positions (m).
    ``images``: per wanted camera (H, W, 3) uint8, turned by 180 degrees as the policy sees it."""

    state: np.ndarray
    images: dict[str, np.ndarray]


@dataclass(frozen=True)
class StepResult:
    observation: Observation
    success: bool
