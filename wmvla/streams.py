"""Random streams named by counters, never taken from a global generator."""

import hashlib

import torch


def generator(*counter: int | str) -> torch.Generator:
    """A CPU generator whose stream is named by ``counter``."""
    digest = hashlib.sha256("/".join(map(str, counter)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
