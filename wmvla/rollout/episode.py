"""What an episode's simulator asks the policy, and what is recorded of it."""

from dataclasses import dataclass

import numpy as np

from wmvla.recipe import EpisodeRow


@dataclass(frozen=True)
class Query:
    """What a simulator sends when its action queue is empty.

    ``images`` (H, W, 3) uint8 by camera, ``state`` (8,), ``number`` the query's place in the episode, ``frames``
    (C, T + m - 1, H, W, 3) uint8 of the C world cameras where the memory needs them.
    """

    row: EpisodeRow
    number: int
    language: str
    state: np.ndarray
    images: dict[str, np.ndarray]
    frames: np.ndarray | None


@dataclass(frozen=True)
class EpisodeRecord:
    """An episode as played.

    ``status``: ``ok`` when it was played to its end, ``error`` when it raised or its process died, ``timeout`` when the
    watchdog ended it. An episode that ran out of control steps was played to its end, without success.
    ``seconds`` is wall time, ``cpu_seconds`` that of the simulator and the policy together.
    """

    success: bool
    steps: int
    status: str
    error: str | None
    seconds: float
    cpu_seconds: float
    scene_hash: str | None
    queries: int
    renders: int


def failed(status: str, error: str) -> EpisodeRecord:
    """The record of an episode that could not be played."""
    return EpisodeRecord(False, 0, status, error, 0.0, 0.0, None, 0, 0)
