"""Forward, backward and update of one arm, on a batch that lies on the device already."""

from pathlib import Path

import torch
from model_sizes import Size, make_batch, make_policy, make_vlm, policy_config, size_for

from bench.plan.suite import load_suite
from conftest import Here
from wmvla.sim.libero.language import task_sentences
from wmvla.train.step import make_optimizer, parameter_groups

SAMPLES = {"cpu": 4, "cuda": 32}
"""What one device takes at once, if its machine does not say."""
CLIP = 10.0


class TrainingStep:
    """Call it to take a step. Its losses stay on the device, so that nothing waits for them."""

    def __init__(
        self, here: Here, arm: str, folder: Path, size: Size | None = None, samples: int = 0
    ) -> None:
        self.here, device, size = here, here.device, size or size_for(here.device)
        self.samples = samples or here.performance.device_batch or SAMPLES[device]
        self.policy = make_policy(
            policy_config(arm, make_vlm(folder / "vlm", size, task_sentences()), size, device)
        )
        self.batch = make_batch(self.policy, self.samples, size, device)
        self.forward = self.policy.forward
        recipe = load_suite("core").scales["full"].recipe
        self.optimizer = make_optimizer(parameter_groups(self.policy), recipe.training)
        config, draws = self.policy.config, torch.Generator().manual_seed(0)
        shape = self.samples, config.chunk_size, config.max_action_dim
        self.noise = torch.randn(shape, generator=draws).to(device)
        self.time = torch.full((self.samples,), 0.5, device=device)
        self.trained = [one for one in self.policy.parameters() if one.requires_grad]
        self.seen: list[torch.Tensor] = []

    def losses(self) -> torch.Tensor:
        """Forward and backward; the action losses of the batch (B,)."""
        with autocast(self.here):
            per_sample, details = self.forward(self.batch, self.noise, self.time, "none")
        per_sample.mean().backward()
        found: torch.Tensor = details.get("action_loss_per_sample", per_sample).detach()
        return found

    def __call__(self) -> torch.Tensor:
        """``losses``, and an update of the weights."""
        self.seen.append(self.losses())
        torch.nn.utils.clip_grad_norm_(self.trained, CLIP)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return self.seen[-1]

    def check(self) -> None:
        """That what was timed was a training: every loss was a number."""
        assert torch.stack(self.seen).isfinite().all()


def million_parameters(model: torch.nn.Module) -> float:
    return sum(parameter.numel() for parameter in model.parameters()) / 1e6


def autocast(here: Here) -> torch.autocast:
    """The machine's precision, as training has it."""
    return torch.autocast(here.device, torch.bfloat16, enabled=here.machine.precision == "bf16")
