"""What a strategy makes of a policy and its optimizer, and their whole state in one common form."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

MOMENTS = ("exp_avg", "exp_avg_sq")
"""What AdamW keeps of each weight."""


class Prepared(Protocol):
    """A policy and its optimizer, laid out over the processes."""

    model: Callable[..., tuple[Tensor, dict[str, Any]]]
    """The policy's ``forward``."""
    optimizer: torch.optim.Optimizer
    """Its groups carry the learning rate; steps are taken by ``step``."""
    sharded: bool
    """Whether ``gradients`` are a share of all, or the same in every process."""

    def part(self, last: bool) -> AbstractContextManager[Any]:
        """Around one part of a batch; gradients are averaged over the processes in the last."""

    def backward(self, loss: Tensor, last: bool) -> None:
        """Add the gradients of ``loss``."""

    def gradients(self) -> dict[str, list[Tensor]]:
        """This process's gradients after the last part, by ``parameter_groups``; written to."""

    def step(self) -> None:
        """Update the weights and forget the gradients."""

    def weights(self) -> dict[str, Tensor] | None:
        """The policy's whole state on the host, in the main process; None if the policy holds it.
        Asked of all."""

    def optimizer_state(self) -> dict[str, Any]:
        """``state_dict`` of one AdamW over all weights, in the main process. Asked of all."""

    def load_optimizer_state(self, state: dict[str, Any]) -> None:
        """Take over what ``optimizer_state`` gave, of any strategy and any number of processes."""


def whole_weights(
    policy: nn.Module, whole: Callable[[Tensor], Tensor], keep: bool
) -> dict[str, Tensor] | None:
    """The state of ``policy`` on the host, with ``whole`` of every tensor in it; None unless
    ``keep``. ``whole`` gathers one tensor; all processes call it in the same order."""
    seen: dict[int, Tensor] = {}
    state = policy.state_dict(keep_vars=True)
    for tensor in state.values():
        if id(tensor) not in seen:
            gathered = whole(tensor)
            # A copy of its own: safetensors refuses tensors that lie in one buffer.
            seen[id(tensor)] = gathered.detach().cpu().clone() if keep else tensor
    return {name: seen[id(tensor)] for name, tensor in state.items()} if keep else None


def whole_optimizer_state(
    optimizer: torch.optim.Optimizer,
    parameters: list[nn.Parameter],
    moment: Callable[[nn.Parameter, str], Tensor],
    keep: bool,
) -> dict[str, Any]:
    """``state_dict`` of an AdamW like ``optimizer`` with one group of ``parameters``, on the host;
    empty unless ``keep``. ``moment`` gathers one moment of a parameter, by its name in the state;
    all processes call it in the same order."""
    step = next(iter(optimizer.state.values()))["step"]
    state: dict[int, dict[str, Tensor]] = {}
    for number, parameter in enumerate(parameters):
        gathered = {key: moment(parameter, key) for key in MOMENTS}
        if keep:
            own_step = {"step": step.detach().cpu().clone()}
            state[number] = own_step | {key: value.cpu() for key, value in gathered.items()}
    settings = {key: value for key, value in optimizer.param_groups[0].items() if key != "params"}
    return {"state": state, "param_groups": [{**settings, "params": list(state)}]}
