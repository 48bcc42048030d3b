"""Strategies ``zero1``, ``zero2``, ``zero3``: DeepSpeed shares moments, gradients, weights.

Non-obvious: gradients are clipped here, between DeepSpeed's backward and step, because DeepSpeed
knows one norm over all, and the world parts have one of their own. So each of ``parameter_groups``
is a group of the optimizer, whose share of the gradients DeepSpeed then keeps apart. Autocast is
accelerate's, as for the other strategies; DeepSpeed sees fp32 weights.
"""

import logging
import os
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from typing import Any

import torch
from accelerate import Accelerator
from lerobot.policies.pretrained import PreTrainedPolicy
from torch import Tensor, nn

from wmvla.train.job import TrainingJob
from wmvla.train.prepared import MOMENTS, whole_optimizer_state, whole_weights
from wmvla.train.step import make_optimizer, parameter_groups

BUCKET = 50_000_000
"""Gradients that are reduced at once, in elements: 200 MB of fp32."""
KEPT_WHOLE = 100_000
"""ZeRO-3 does not share out weights with fewer elements; DeepSpeed's default."""


class Zero:
    """Implements ``wmvla.train.prepared.Prepared``."""

    sharded = True

    def __init__(
        self, job: TrainingJob, policy: PreTrainedPolicy, accelerator: Accelerator, stage: int
    ) -> None:
        self.accelerator, self.stage = accelerator, stage
        self.deepspeed = import_deepspeed(accelerator.device.type)
        # What accelerate calls evaluation mode: placed and under autocast, but not in DDP.
        self.policy = accelerator.prepare_model(policy, evaluation_mode=True)
        self.groups = parameter_groups(self.policy)
        self.parameters = [parameter for group in self.groups.values() for parameter in group]
        self.optimizer = make_optimizer(self.groups, job.training, apart=True)
        largest = max(parameter.numel() for parameter in self.parameters)
        self.model, self.zero, _, _ = self.deepspeed.initialize(
            model=self.policy,
            optimizer=self.optimizer,
            config={
                "train_batch_size": job.training.batch_size,
                "gradient_accumulation_steps": job.accumulation_steps,
                "gradient_clipping": 0.0,  # its default is 1
                "steps_per_print": 1_000_000_000,
                "zero_optimization": {
                    "stage": stage,
                    "reduce_bucket_size": BUCKET,
                    "stage3_param_persistence_threshold": min(KEPT_WHOLE, largest // 10),
                },
            },
        )
        self._start_moments()

    def _start_moments(self) -> None:
        """Make the optimizer's state as its first step would.

        Non-obvious: DeepSpeed links weights with their moments after the first step of the first
        group, and never again: those of the other groups, which do not exist by then, could not be
        read.
        """
        zero = self.zero
        whole = self.stage == 3
        shares = (
            zero.fp32_partitioned_groups_flat if whole else zero.single_partition_of_fp32_groups
        )
        for share in shares:
            zeros = {key: torch.zeros_like(share) for key in MOMENTS}
            self.optimizer.state[share] = {"step": torch.zeros((), device=share.device), **zeros}
        if self.stage < 3:
            self.zero._lazy_init_hp_params_optimizer_state()

    def part(self, last: bool) -> AbstractContextManager[Any]:
        return nullcontext()

    def backward(self, loss: Tensor, last: bool) -> None:
        self.model.backward(loss, scale_wrt_gas=False)
        if not last:
            self.model.step()  # only counts: DeepSpeed finds the last part by itself

    def gradients(self) -> dict[str, list[Tensor]]:
        names = list(self.groups)
        shares: dict[str, list[Tensor]] = {name: [] for name in names}
        for number, share in self.zero.averaged_gradients.items():
            group = self.zero.sub_group_to_group_id[number] if self.stage == 3 else number
            shares[names[group]] += share
        return shares

    def step(self) -> None:
        self.model.step()

    def weights(self) -> dict[str, Tensor] | None:
        return whole_weights(self.policy, self._whole, self.accelerator.is_main_process)

    def _whole(self, tensor: Tensor) -> Tensor:
        if not hasattr(tensor, "ds_id"):
            return tensor
        with self.deepspeed.zero.GatheredParameters([tensor]):
            return tensor.detach().cpu().clone()

    def optimizer_state(self) -> dict[str, Any]:
        get = self.deepspeed.utils.safe_get_full_optimizer_state
        return whole_optimizer_state(
            self.optimizer, self.parameters, get, self.accelerator.is_main_process
        )

    def load_optimizer_state(self, state: dict[str, Any]) -> None:
        saved = [state["state"][number] for number in range(len(self.parameters))]
        for state_of_share in self.optimizer.state.values():
            state_of_share["step"].copy_(saved[0]["step"])
        for parameter, values in zip(self.parameters, saved, strict=True):
            for key in MOMENTS:
                self._set_moment(parameter, values[key], key)

    def _set_moment(self, parameter: Any, value: Tensor, key: str) -> None:
        """Non-obvious: DeepSpeed's setter fails in ZeRO-3 for weights that cannot be cut evenly."""
        utils = self.deepspeed.utils
        if self.stage < 3:
            utils.safe_set_full_optimizer_state(parameter, value.to(parameter.device), key)
            return
        size, rank = parameter.ds_tensor.numel(), self.accelerator.process_index
        mine = value.flatten()[rank * size : (rank + 1) * size]
        mine = nn.functional.pad(mine, (0, size - mine.numel())).to(parameter.device)
        utils.safe_set_local_optimizer_state(parameter, mine, key)


def import_deepspeed(device: str) -> ModuleType:
    """DeepSpeed for ``device``, quiet.

    Non-obvious: on a CPU it would compile an all-reduce for inference first, for over a minute, and
    a build that is killed leaves a lock that the next one waits for. It builds only what it
    believes to be compatible, and training needs none.
    """
    if device == "cpu":
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    import deepspeed
    from deepspeed.utils import logger

    logger.setLevel(logging.WARNING)
    if device == "cpu":
        deepspeed.ops.__compatible_ops__ = {}
    return deepspeed
