"""``metrics/<case>.jsonl``: a line per optimizer step, written in batches to spare host copies."""

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wmvla.errors import UserError
from wmvla.files import sync_folder, write_file


class MetricsFile:
    """Appends to ``path``; on a resume, lines behind ``step`` (the checkpoint's) are cut off first.
    UserError: there is a checkpoint, but the line of its step is gone, and no run writes it again.
    """

    def __init__(self, path: Path, step: int) -> None:
        self.path = path
        self.pending: list[tuple[int, float, int, dict[str, Tensor]]] = []
        self.last: dict[str, Any] = {}
        self.seconds_before = 0.0
        kept, reached = [], 0
        for line in path.read_text().splitlines() if path.exists() else []:
            try:
                row = json.loads(line)
                number, seconds = row["step"], row["seconds"]
            except (ValueError, TypeError, KeyError):
                break  # half a line, of a killed process; the steps behind it are run again
            if number <= step:
                kept.append(line)
                reached, self.seconds_before = number, seconds
        if reached != step:
            found = f"ends at step {reached}" if reached else "has no whole line"
            raise UserError(
                f"{path}: {found}, and the checkpoint to continue from is of step {step}; put the"
                " file back as it was, or remove that checkpoint to train from the beginning"
            )
        write_file(path, "".join(line + "\n" for line in kept).encode())

    def sync(self) -> None:
        """Make what is written durable: a checkpoint without its lines is of no use."""
        sync_folder(self.path)

    def add(self, step: int, learning_rate: float, samples: int, values: dict[str, Tensor]) -> None:
        """Remember one step's values, scalars () or vectors (N,), still on their device."""
        self.pending.append((step, learning_rate, samples, values))

    def flush(self, seconds: float) -> list[dict[str, Any]]:
        """Copy what is pending to the host at once, append it and return it, up to a step that is
        not finite. ``seconds``: training time of this process."""
        if not self.pending:
            return []
        lines = []
        table = torch.stack([flat(values) for _, _, _, values in self.pending]).tolist()
        with self.path.open("a") as file:
            for (step, rate, samples, tensors), row in zip(self.pending, table, strict=True):
                if not all(map(math.isfinite, row)):
                    break  # the training ends with it (``FiniteSteps``); JSON has no such numbers
                start = {"step": step, "learning_rate": rate, "samples": samples}
                self.last = {**start, **unflat(row, tensors)}
                lines.append({**self.last, "seconds": round(self.seconds_before + seconds, 3)})
                file.write(json.dumps(lines[-1]) + "\n")
        self.pending.clear()
        return lines


def flat(values: dict[str, Tensor]) -> Tensor:
    """All values in one vector (float32)."""
    return torch.cat([value.detach().float().reshape(-1) for value in values.values()])


def unflat(row: list[float], values: dict[str, Tensor]) -> dict[str, Any]:
    """The inverse of ``flat`` on the host, with the names and shapes of ``values``."""
    numbers = iter(row)
    return {
        name: [next(numbers) for _ in range(len(value))] if value.ndim else next(numbers)
        for name, value in values.items()
    }
