"""Seeds derived by counter from the plan, never drawn from a global generator."""

import hashlib
from collections.abc import Callable

SEPARATOR = "\x1f"


def derive_seed(root: int | str, *labels: int | str) -> int:
    """A 31-bit seed that depends on `root` and every label, and on nothing else. The first 31 bits
    of SHA-256 over the labels joined by an unprintable separator: a size that
    ``numpy.random.seed``, torch and robosuite all accept."""
    return _seed(SEPARATOR.join(map(str, (root, *labels))))


def seeds_by_label(root: int | str, *labels: int | str) -> Callable[[int | str], int]:
    """`derive_seed` with those labels and one more, for whoever wants many."""
    begin = SEPARATOR.join(map(str, (root, *labels))) + SEPARATOR
    return lambda label: _seed(f"{begin}{label}")


def _seed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
