"""What a simulator process is at, in memory shared with the engine, for one that hangs."""

import contextlib
from collections.abc import Iterator
from typing import Any

LENGTH = 120
"""Bytes of the shared text."""

_shared: Any = None


def share(text: Any) -> None:
    """From now on this process writes what it is at into ``text``, a ``RawArray("c", LENGTH)``."""
    global _shared
    _shared = text


@contextlib.contextmanager
def phase(name: str) -> Iterator[None]:
    """Say that this process is at ``name`` as long as the block lasts; blocks may be nested. In a
    process that shares nothing this does nothing."""
    if _shared is None:
        yield
        return
    before = _shared.value
    _shared.value = b", ".join(filter(None, (before, name.encode())))[: LENGTH - 1]
    try:
        yield
    finally:
        _shared.value = before
