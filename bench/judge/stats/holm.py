"""Several claims tested at once: the chance of even one false SUPPORTED stays at alpha."""

from collections.abc import Callable, Sequence


def holm_adjusted(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values, in the order given; each is compared with alpha itself.

    Source: S. Holm (1979), Scand. J. Stat. 6:65-70.
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def holm_rejected(tests: Sequence[Callable[[float], bool]], alpha: float) -> list[bool]:
    """Which hypotheses Holm's procedure rejects at `alpha`, each given as its test at a level. For
    tests without a p-value. What rejects at a level must reject at every larger one."""
    rejected = [False] * len(tests)
    while left := [i for i, done in enumerate(rejected) if not done]:
        more = [i for i in left if tests[i](alpha / len(left))]
        if not more:
            break
        for i in more:
            rejected[i] = True
    return rejected
