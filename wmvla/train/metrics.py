"""``metrics/<case>.jsonl``: one line per optimizer step, written in batches so that a step costs no host copy."""

import json
from pathlib import Path

import torch
from torch import Tensor


class MetricsFile:
    """Appends to ``path``; on a resume, lines behind ``step`` (the checkpoint's) are cut off first.

    Raises:
        FloatingPointError: on ``flush``, a loss that is not finite; the step is named.
    """

    def __init__(self, path: Path, case: str, step: int) -> None:
        self.path, self.case = path, case
        self.pending: list[tuple[int, float, int, dict[str, Tensor]]] = []
        self.last: dict[str, float] = {}
        self.seconds_before = 0.0
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = []
        for line in path.read_text().splitlines() if path.exists() else []:
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                break  # the half-written line of a killed process; the steps behind it are run again
            if row["step"] <= step:
                kept.append(line)
                self.seconds_before = row["seconds"]
        unfinished = path.with_name(f".{path.name}")
        unfinished.write_text("".join(line + "\n" for line in kept))
        unfinished.replace(path)

    def add(self, step: int, learning_rate: float, samples: int, values: dict[str, Tensor]) -> None:
        """Remember one step's values, still on their device."""
        self.pending.append((step, learning_rate, samples, values))

    def flush(self, seconds: float) -> None:
        """Copy what is pending to the host at once and append it; ``seconds`` is the training time of this process so far."""
        if not self.pending:
            return
        names = list(self.pending[0][3])
        table = torch.stack([torch.stack([v[n] for n in names]) for _, _, _, v in self.pending]).tolist()
        with self.path.open("a") as file:
            for (step, rate, samples, _), row in zip(self.pending, table, strict=True):
                values = dict(zip(names, row, strict=True))
                if not all(abs(value) < float("inf") for value in values.values()):
                    raise FloatingPointError(f"{self.case}: the loss is not finite at step {step}: {values}.")
                self.last = {"step": step, "learning_rate": rate, "samples": samples, **values}
                line = {**self.last, "seconds": round(self.seconds_before + seconds, 3)}
                file.write(json.dumps(line) + "\n")
        self.pending.clear()
