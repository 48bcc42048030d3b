"""Seeds of demonstrated episodes."""

import numpy as np

from wmvla.recipe import Demonstrations


def episode_seed(demonstrations: Demonstrations, task: int, init: int) -> int:
    """Environment seed (32 bits) of one demonstrated episode."""
    return int(np.random.SeedSequence([demonstrations.seed, task, init]).generate_state(1)[0])
