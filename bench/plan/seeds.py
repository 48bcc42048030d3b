"""Seeds derived by counter from the plan, never drawn from a global generator."""

import hashlib


def derive_seed(root: int | str, *labels: int | str) -> int:
    """A 31-bit seed that depends on `root` and every label, and on nothing else.

    The first 31 bits of SHA-256 over the labels joined by an unprintable separator: a size that
    ``numpy.random.seed``, torch and robosuite all accept.
    """
    digest = hashlib.sha256("\x1f".join(map(str, (root, *labels))).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
