"""Strategy ``fsdp``: torch's ``fully_shard`` shares weights, gradients and moments.

Non-obvious: the policy is one unit, gathered whole for forward and backward. Its layers cannot be
units of their own, because SmolVLA calls their projections one by one and never the layers, so that
nobody would gather them.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from accelerate import Accelerator
from lerobot.policies.pretrained import PreTrainedPolicy
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from wmvla.train.job import TrainingJob
from wmvla.train.prepared import MOMENTS, whole_optimizer_state, whole_weights
from wmvla.train.step import make_optimizer, parameter_groups


class Fsdp:
    """Implements ``wmvla.train.prepared.Prepared``."""

    sharded = True

    def __init__(
        self, job: TrainingJob, policy: PreTrainedPolicy, accelerator: Accelerator
    ) -> None:
        self.accelerator = accelerator
        # What accelerate calls evaluation mode: placed and under autocast, but not in DDP.
        self.model = accelerator.prepare_model(policy, evaluation_mode=True)
        mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
        fully_shard(self.model, mesh=mesh)
        if accelerator.device.type == "cpu":
            self.model.set_force_sum_reduction_for_comms(True)  # gloo has no averaging
        self.groups = parameter_groups(self.model)
        self.optimizer = make_optimizer(self.groups, job.training)

    def part(self, last: bool) -> AbstractContextManager[Any]:
        self.model.set_requires_gradient_sync(last)
        return nullcontext()

    def backward(self, loss: Tensor, last: bool) -> None:
        loss.backward()

    def gradients(self) -> dict[str, list[Tensor]]:
        return {
            name: [p.grad.to_local() for p in group if isinstance(p.grad, DTensor)]
            for name, group in self.groups.items()
        }

    def step(self) -> None:
        self.optimizer.step()
        self.optimizer.zero_grad()

    def weights(self) -> dict[str, Tensor] | None:
        return whole_weights(self.model, _whole, self.accelerator.is_main_process)

    def optimizer_state(self) -> dict[str, Any]:
        parameters = self.optimizer.param_groups[0]["params"]
        keep = self.accelerator.is_main_process
        return whole_optimizer_state(
            self.optimizer, parameters, lambda p, key: _whole(self.optimizer.state[p][key]), keep
        )

    def load_optimizer_state(self, state: dict[str, Any]) -> None:
        for number, parameter in enumerate(self.optimizer.param_groups[0]["params"]):
            saved, place = state["state"][number], parameter.device
            layout = parameter.device_mesh, parameter.placements
            moments = {
                key: distribute_tensor(saved[key].to(place), *layout, src_data_rank=None)
                for key in MOMENTS
            }
            step = saved["step"].to(place, copy=True)
            self.optimizer.state[parameter] = {"step": step, **moments}


def _whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
