"""Strategy ``ddp``: every process holds all weights and moments; gradients are averaged."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from accelerate import Accelerator
from lerobot.policies.pretrained import PreTrainedPolicy
from torch import Tensor

from wmvla.train.job import TrainingJob
from wmvla.train.step import make_optimizer, parameter_groups


class Replicated:
    """Implements ``wmvla.train.prepared.Prepared``."""

    sharded = False

    def __init__(
        self, job: TrainingJob, policy: PreTrainedPolicy, accelerator: Accelerator
    ) -> None:
        self.accelerator = accelerator
        self.groups = parameter_groups(policy)
        optimizer = make_optimizer(self.groups, job.training)
        self.model, self.optimizer = accelerator.prepare(policy, optimizer)

    def part(self, last: bool) -> AbstractContextManager[Any]:
        return nullcontext() if last else self.accelerator.no_sync(self.model)

    def backward(self, loss: Tensor, last: bool) -> None:
        self.accelerator.backward(loss)

    def gradients(self) -> dict[str, list[Tensor]]:
        return {
            name: [p.grad for p in group if p.grad is not None]
            for name, group in self.groups.items()
        }

    def step(self) -> None:
        self.optimizer.step()
        self.optimizer.zero_grad()

    def weights(self) -> None:
        return None

    def optimizer_state(self) -> dict[str, Any]:
        return self.optimizer.state_dict()

    def load_optimizer_state(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state)
