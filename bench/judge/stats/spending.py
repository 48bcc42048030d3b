"""How much of alpha a group-sequential test may have spent by a look (Lan-DeMets).

Source: K. K. G. Lan and D. L. DeMets (1983), Biometrika 70:659-663; as tabulated in C. Jennison and
B. W. Turnbull (2000), Group Sequential Methods, section 7.2.
"""

import math
from collections.abc import Callable

from scipy.special import ndtr, ndtri


def obrien_fleming_spending(fraction: float, alpha: float) -> float:
    """Error spent of a one-sided `alpha` at information `fraction`: almost none at first."""
    assert 0 <= fraction <= 1
    if fraction == 0:
        return 0.0
    return float(2 * ndtr(ndtri(alpha / 2) / math.sqrt(fraction)))


def pocock_spending(fraction: float, alpha: float) -> float:
    """Error spent of a one-sided `alpha` at information `fraction`: evenly, like Pocock."""
    assert 0 <= fraction <= 1
    return alpha * math.log1p((math.e - 1) * fraction)


SPENDING: dict[str, Callable[[float, float], float]] = {
    "obrien-fleming": obrien_fleming_spending,
    "pocock": pocock_spending,
}
