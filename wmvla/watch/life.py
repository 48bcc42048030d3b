"""The sign of life of a training: a small file with what it is at, and the next sign's patience."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Sign:
    """``patience``: seconds that the next sign may take, if long, as for writing a checkpoint."""

    at: str
    patience: float = 0.0


def life_path(job: Path) -> Path:
    """Where the process that was given the file ``job`` signs."""
    return job.with_name(f".{job.stem}.alive")


def write_sign(path: Path, sign: Sign) -> None:
    path.write_text(f"{sign.patience:.1f} {sign.at}")


def read_sign(path: Path) -> Sign | None:
    """The last sign, if there is a whole one."""
    try:
        patience, at = path.read_text().split(" ", 1)
        return Sign(at, float(patience))
    except (OSError, ValueError):
        return None


class Silence:
    """How long none of some files has changed, by this process's own clock."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = files
        self.state = self._look()
        self.changed = time.monotonic()

    def seconds(self) -> float:
        """Seconds since a change was seen; to be asked often."""
        state = self._look()
        if state != self.state:
            self.state, self.changed = state, time.monotonic()
        return time.monotonic() - self.changed

    def _look(self) -> list[tuple[int, int]]:
        found = []
        for file in self.files:
            try:
                status = file.stat()
                found.append((status.st_mtime_ns, status.st_size))
            except OSError:
                found.append((0, 0))
        return found
