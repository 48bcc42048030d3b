"""What two ways to train faster buy here: cached vision features, and ``torch.compile``. Each is
timed against the plain step.

Two policies with the same weights take turns on the same batch, and their losses must agree.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from model_sizes import (
    CAMERAS,
    REAL,
    Size,
    make_batch,
    make_policy,
    make_vlm,
    policy_config,
    size_for,
)
from torch.utils.flop_counter import FlopCounterMode

from bench.plan.suite import load_suite
from conftest import Here
from wmvla.policy.frozen_vision import encode_images, take_features
from wmvla.sim.libero.language import task_sentences
from wmvla.train.step import make_optimizer, parameter_groups

SAMPLES = {"cpu": 4, "cuda": 32}
STEPS, ROUNDS = {"cpu": 2, "cuda": 10}, 3
Measure = Callable[..., None]
Step = Callable[[], torch.Tensor]


class Side:
    """One of the two policies, its batch and its optimizer."""

    def __init__(self, here: Here, folder: Path, arm: str, size: Size, samples: int) -> None:
        self.precision, device = here.machine.precision, here.device
        self.policy = make_policy(
            policy_config(arm, make_vlm(folder / "vlm", size, task_sentences()), size, device)
        )
        self.batch = make_batch(self.policy, samples, size, device)
        self.forward = self.policy.forward
        recipe = load_suite("core").scales["full"].recipe
        self.optimizer = make_optimizer(parameter_groups(self.policy), recipe.training)
        draws = torch.Generator().manual_seed(0)
        shape = samples, self.policy.config.chunk_size, self.policy.config.max_action_dim
        self.noise = torch.randn(shape, generator=draws).to(device)
        self.time = torch.full((samples,), 0.5, device=device)

    def turn_to_features(self) -> None:
        """Encode the batch's images, and go on from what they gave."""
        self.batch |= {
            key: encode_images(self.policy, key, self.batch[key], self.precision) for key in CAMERAS
        }
        take_features(self.policy)

    def turn_to_images(self, images: dict[str, torch.Tensor]) -> None:
        """Undo ``turn_to_features``."""
        self.batch = images
        del self.policy.prepare_images, self.policy.model.vlm_with_expert.embed_image

    def losses(self) -> torch.Tensor:
        """Forward and backward; the action losses of the batch (B,)."""
        with torch.autocast(
            self.noise.device.type, torch.bfloat16, enabled=self.precision == "bf16"
        ):
            per_sample, details = self.forward(self.batch, self.noise, self.time, "none")
        per_sample.mean().backward()
        found: torch.Tensor = details.get("action_loss_per_sample", per_sample).detach()
        return found

    def step(self) -> torch.Tensor:
        """``losses``, and an update of the weights."""
        found = self.losses()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return found


def counted(work: Step) -> tuple[torch.Tensor, float]:
    """What ``work`` gives, and the floating-point operations that torch counts in it."""
    with FlopCounterMode(display=False) as counter:
        found = work()
    return found, counter.get_total_flops()


def take_turns(benchmark: Any, here: Here, plain: Side, other: Side) -> tuple[float, float]:
    """Seconds of one step of each, of its fastest turn: CPU seconds on a CPU, which a busy
    neighbour does not lengthen."""
    clock, steps = (
        time.process_time if here.device == "cpu" else time.perf_counter,
        STEPS[here.device],
    )
    spent: dict[int, list[float]] = {id(plain): [], id(other): []}

    def turn(side: Side) -> None:
        began = clock()
        for _ in range(steps):
            side.step()
        if here.device == "cuda":
            torch.cuda.synchronize()
        spent[id(side)].append((clock() - began) / steps)

    benchmark.pedantic(lambda: turn(other), setup=lambda: turn(plain), rounds=ROUNDS)
    return min(spent[id(plain)]), min(spent[id(other)])


@pytest.mark.parametrize("arm", ["E0", "E2"])
def test_training_on_cached_vision(
    benchmark: Any, here: Here, measured: Measure, tmp_path: Path, arm: str
) -> None:
    torch.set_num_threads(1)
    samples = SAMPLES[here.device]
    plain, cached = (
        Side(here, tmp_path / name, arm, size_for(here.device), samples)
        for name in ("plain", "cached")
    )
    cached.turn_to_features()
    found = [counted(side.step) for side in (plain, cached)]
    torch.testing.assert_close(
        found[0][0], found[1][0], rtol=2e-3 if plain.precision == "bf16" else 1e-5, atol=1e-5
    )
    whole, less = take_turns(benchmark, here, plain, cached)
    beside = {
        "encoding_samples_per_second": samples / whole,
        "ratio": whole / less,
        "percent_of_operations_saved": 100 * (1 - found[1][1] / found[0][1]),
        "samples": samples,
    }
    measured(f"train_{arm}_cached", samples / less, "samples/s", **beside)


@pytest.mark.slow
def test_operations_of_a_published_step(benchmark: Any, here: Here, tmp_path: Path) -> None:
    """One sample, forward and backward. On a CPU in CPU seconds; the cached step comes first, so it
    pays for the start."""
    torch.set_num_threads(1)
    side = Side(here, tmp_path, "E0", REAL, 1)
    images = dict(side.batch)
    side.turn_to_features()
    clock = time.process_time if here.device == "cpu" else time.perf_counter
    figures: dict[str, tuple[torch.Tensor, float, float]] = {}

    def timed(what: str) -> None:
        began = clock()
        loss, operations = counted(side.losses)
        figures[what] = loss, operations, clock() - began

    benchmark.pedantic(lambda: timed("cached"), rounds=1)
    side.turn_to_images(images)
    timed("encoding")
    cached, encoding = figures["cached"], figures["encoding"]
    torch.testing.assert_close(
        cached[0], encoding[0], rtol=2e-3 if side.precision == "bf16" else 1e-5, atol=1e-5
    )
    saved = 100 * (1 - cached[1] / encoding[1])
    benchmark.extra_info.update(
        tera_operations_encoding=encoding[1] / 1e12,
        tera_operations_cached=cached[1] / 1e12,
        percent_of_operations_saved=saved,
        seconds_encoding=encoding[2],
        seconds_cached=cached[2],
    )
    print(
        f"\n  a sample of the published size: {encoding[1] / 1e12:.3f} x 10^12 operations, cached"
        f" {cached[1] / 1e12:.3f}: {saved:.0f} % saved; {encoding[2]:.1f} s and {cached[2]:.1f} s:"
        f" {encoding[2] / cached[2]:.2f} x"
    )


@pytest.mark.slow
def test_training_compiled(benchmark: Any, here: Here, measured: Measure, tmp_path: Path) -> None:
    """E2 through ``torch.compile``. Compiling is counted apart from the steps."""
    torch.set_num_threads(1)
    samples = SAMPLES[here.device]
    plain, compiled = (
        Side(here, tmp_path / name, "E2", size_for(here.device), samples)
        for name in ("plain", "compiled")
    )
    compiled.forward = torch.compile(compiled.policy.forward)
    began = time.perf_counter()
    ours = compiled.step()
    seconds = time.perf_counter() - began
    torch.testing.assert_close(
        ours, plain.step(), rtol=1e-2 if plain.precision == "bf16" else 1e-4, atol=1e-4
    )
    for side in (plain, compiled):
        side.step()
    whole, less = take_turns(benchmark, here, plain, compiled)
    won = whole - less
    beside = {
        "plain_samples_per_second": samples / whole,
        "ratio": whole / less,
        "seconds_to_compile": seconds,
        "steps_that_pay_for_it": seconds / won if won > 0 else float("inf"),
    }
    measured("train_E2_compiled", samples / less, "samples/s", **beside)
