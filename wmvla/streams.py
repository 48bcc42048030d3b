"""Random streams named by counters, never taken from a global generator: one for each query of an
episode (`query_stream`), so that any episode can be replayed alone or on another worker."""

import hashlib
from typing import Literal

import torch


def generator(*counter: int | str) -> torch.Generator:
    """A CPU generator whose stream is named by ``counter``."""
    digest = hashlib.sha256("/".join(map(str, counter)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def query_stream(
    use: Literal["noise", "memory", "policy"], noise_seed: int, query: int
) -> torch.Generator:
    """The stream of one query of an episode: its number among the episode's, and what it is for.

    `noise_seed` is the episode's in the plan's table. Arms share it, so their noise is paired.
    """
    return generator(use, noise_seed, query)
