"""Hashes of what a run made and used, from the records of its cases. Pure."""

from collections.abc import Mapping
from typing import Any

Record = dict[str, Any]
CHECKPOINTS = "checkpoints/"
"""Of a run's own files these are named; other sums are for `wmbench verify` alone."""


def made(records: Mapping[str, Record]) -> list[dict[str, str]]:
    """``{"case", "what", "sha256"}`` of each recorded sum; none of a run that is older than sums.
    ``what`` is a path in the run directory, beside ``results/`` and ``cache/``, or below ``~``."""
    found = []
    for case, record in records.items():
        sums, artefacts = _table(record, "sums"), _table(record, "artefacts")
        paths = {
            path: sha for path, sha in _table(sums, "files").items() if path.startswith(CHECKPOINTS)
        }
        outside = _table(sums, "outside").items()
        paths |= {str(artefacts.get(name, name)): sha for name, sha in outside}
        found += [
            {"case": case, "what": path, "sha256": str(sha)} for path, sha in sorted(paths.items())
        ]
    return found


def _table(record: Record, key: str) -> Record:
    value = record.get(key)
    return value if isinstance(value, dict) else {}
