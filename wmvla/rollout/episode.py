"""What an episode's simulator asks the policy, its answer, and the record of the episode."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wmvla.recipe import EpisodeRow


@dataclass(frozen=True)
class Query:
    """What a simulator sends when its action queue is empty.

    ``images`` (H, W, 3) uint8 by camera, ``state`` (8,), ``number`` the query's place in the
    episode, ``step`` the control step of the observation (0 after the reset), ``frames`` (C, T + m
    - 1, H, W, 3) uint8 of the C world cameras where the memory needs them. ``kept`` is the policy's
    own, to remember things in from one query of an episode to the next: empty at an episode's first
    query, and dropped when the episode ends or starts again.
    """

    row: EpisodeRow
    number: int
    step: int
    language: str
    state: np.ndarray
    images: dict[str, np.ndarray]
    frames: np.ndarray | None
    kept: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What a policy says to one query.

    ``actions`` (n, A), n >= 1, are executed in order; then comes the next query. ``cpu_seconds`` of
    the policy are this query's share, where several were answered together. ``fault``: why there
    are no actions; it ends the episode.
    """

    actions: np.ndarray
    cpu_seconds: float
    fault: str | None = None


@dataclass(frozen=True)
class EpisodeRecord:
    """An episode as played.

    ``status``: ``ok`` when it was played to its end, ``error`` when it raised, its process died or
    an action, state or latent was not finite, ``timeout`` when the watchdog ended it. An episode
    that ran out of control steps was played to its end, without success. ``seconds`` is wall time,
    ``cpu_seconds`` that of the simulator and the policy together. ``reset`` is ``cheap`` or
    ``hard``, None when it never got that far.
    ``policy_batch`` is the largest number of queries answered together with one of this episode's:
    1 where the policy answers one at a time, 0 when nothing was asked.
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
    reset: str | None
    policy_batch: int


def failed(status: str, error: str) -> EpisodeRecord:
    """The record of an episode that could not be played."""
    return EpisodeRecord(False, 0, status, error, 0.0, 0.0, None, 0, 0, None, 0)
