"""A dataset of latents in a module of its own: a spawned worker imports this and no more."""

import os

import numpy as np
import torch
from torch.utils.data import Dataset

from wmvla.world.latents.cache import LatentCache


class Gathered(Dataset):
    """What each row's gather gives, and the process that gave it."""

    def __init__(self, cache: LatentCache) -> None:
        self.cache = cache

    def __len__(self) -> int:
        return len(self.cache.latents)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        return torch.from_numpy(self.cache.gather(np.array([row]), 4, 8)[0][0]), os.getpid()
