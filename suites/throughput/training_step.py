"""Forward, backward and update of one arm, on a batch that lies on the device already."""

import contextlib
from pathlib import Path

import torch
from model_sizes import make_batch, make_policy, make_vlm, policy_config, size_for

from bench.plan.suite import load_suite
from conftest import Here
from wmvla.sim.libero.language import task_sentences
from wmvla.train.step import make_optimizer, parameter_groups

CPU_SAMPLES, GPU_SAMPLES = 4, 32
CLIP = 10.0


def samples_for(here: Here) -> int:
    """Samples that one device takes at once."""
    return here.performance.device_batch or (GPU_SAMPLES if here.device == "cuda" else CPU_SAMPLES)


class TrainingStep:
    """Call it to take a step. Its losses stay on the device, so that nothing waits for them."""

    def __init__(self, here: Here, arm: str, folder: Path) -> None:
        device, size = here.device, size_for(here.device)
        self.here, self.samples = here, samples_for(here)
        self.policy = make_policy(
            policy_config(arm, make_vlm(folder / "vlm", size, task_sentences()), size, device)
        )
        self.batch = make_batch(self.policy, self.samples, size, device)
        self.optimizer = make_optimizer(
            parameter_groups(self.policy), load_suite("core").scales["full"].recipe.training
        )
        self.trained = [
            parameter for parameter in self.policy.parameters() if parameter.requires_grad
        ]
        self.losses: list[torch.Tensor] = []

    def __call__(self) -> None:
        with autocast(self.here):
            per_sample, details = self.policy.forward(self.batch, reduction="none")
        loss = details.get("action_loss_per_sample", per_sample).mean()
        if "world_loss_per_sample" in details:
            loss = loss + self.policy.config.lambda_world * details["world_loss_per_sample"].mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.trained, CLIP)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.losses.append(loss.detach())

    def check(self) -> None:
        """That what was timed was a training: every loss was a number."""
        assert torch.stack(self.losses).isfinite().all()

    @property
    def million_parameters(self) -> float:
        return sum(parameter.numel() for parameter in self.policy.parameters()) / 1e6


def autocast(here: Here) -> contextlib.AbstractContextManager[object]:
    """The machine's precision, as training has it."""
    return (
        torch.autocast(here.device, torch.bfloat16)
        if here.machine.precision == "bf16"
        else contextlib.nullcontext()
    )
