"""Data that more than one golden is computed from."""

import numpy as np
import pytest


@pytest.fixture
def clustered_pairs() -> tuple[np.ndarray, np.ndarray]:
    """840 differences in 240 clusters of 2 to 5, whose repeats nearly agree; made by arithmetic,
    the same everywhere."""
    clusters = np.repeat(np.arange(240), 2 + np.arange(240) % 4)
    pair, lean = np.arange(len(clusters)), 7 * clusters % 10
    return ((lean < 4) & (pair % 3 != 0)).astype(int) - ((lean > 7) & (pair % 5 != 1)).astype(
        int
    ), clusters
