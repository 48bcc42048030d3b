"""Packed run directories: unpacked into a folder of their own, and verified there."""

import tempfile
from pathlib import Path

from bench.share.pack import unpack
from bench.verify.verify import Verified, verify


def verify_packed(packed: Path, seal: str | None = None, templates: Path | None = None) -> Verified:
    """As `verify`, of what `wmbench pack` made. UserError if it is damaged, or was not packed here.

    Non-obvious: it is unpacked two levels deep: a run directory lies beside a cache two levels up.
    """
    with tempfile.TemporaryDirectory(prefix="wmbench-unpacked-") as folder:
        results = Path(folder) / "results"
        results.mkdir()
        return verify(unpack(packed, results), seal, templates)
