"""What a command prints is dropped once its reader is gone: its exit code is still its answer."""

import io
import sys
from collections.abc import Buffer


class _Unread(io.FileIO):
    """A file that takes everything, read or not."""

    def write(self, data: Buffer, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            return memoryview(data).nbytes


def outlive_readers() -> None:
    """Let ``wmbench verify DIR | head -1`` end with verify's answer, and a run go on."""
    for name in ("stdout", "stderr"):
        before = getattr(sys, name)
        if before is None or before is not getattr(sys, f"__{name}__"):
            continue  # it belongs to whoever has replaced it
        before.flush()
        raw = io.BufferedWriter(_Unread(before.fileno(), "w", closefd=False))
        after = io.TextIOWrapper(
            raw, before.encoding, before.errors, line_buffering=before.line_buffering
        )
        setattr(sys, name, after)
