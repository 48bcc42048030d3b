"""What a simulator process is at, in memory shared with the engine, for one that hangs."""

import contextlib
import ctypes
import mmap
import os
from collections.abc import Iterator
from typing import Any

LENGTH = 120
"""Bytes of the shared text."""

_shared: Any = None


def new_file() -> int:
    """An open file in memory for ``text_in``, to be shared with another process."""
    file = os.memfd_create("phase")
    os.truncate(file, LENGTH)
    return file


def text_in(file: int) -> Any:
    """The shared text in such a file, like a ``RawArray("c", LENGTH)``."""
    return (ctypes.c_char * LENGTH).from_buffer(mmap.mmap(file, LENGTH))


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
