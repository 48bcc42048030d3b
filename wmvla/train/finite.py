"""A loss or gradient that is not finite ends a training in all processes, naming the step."""

import torch
from torch import Tensor

from wmvla.errors import UserError
from wmvla.train.metrics import flat


def all_finite(values: dict[str, Tensor]) -> Tensor:
    """Whether everything in ``values`` is finite: () bool, on its device."""
    return flat(values).isfinite().all()


class FiniteSteps:
    """Remembers of each step whether it was finite, so that a step costs no copy to the host."""

    def __init__(self, case: str) -> None:
        self.case = case
        self.pending: list[tuple[int, Tensor]] = []

    def add(self, step: int, finite: Tensor) -> None:
        """Remember () bool of ``all_finite``, still on its device."""
        self.pending.append((step, finite))

    def check(self) -> None:
        """UserError for the first step since the last check that was not finite; asked before a
        step is saved."""
        answers = torch.stack([finite for _, finite in self.pending]).tolist()
        for (step, _), finite in zip(self.pending, answers, strict=True):
            if not finite:
                raise UserError(
                    f"{self.case}: the loss or a gradient is not finite at step {step}; that step "
                    "is not in any checkpoint: check the data, or lower the learning rate."
                )
        self.pending.clear()
