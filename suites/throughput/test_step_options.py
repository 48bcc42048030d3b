"""What two ways to train faster buy, against the plain step: cached vision features, and
``torch.compile``. Two policies of the same weights take turns on a batch; their losses agree."""

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from clocks import take_turns
from model_sizes import CAMERAS, REAL
from torch.utils.flop_counter import FlopCounterMode
from training_step import TrainingStep

from conftest import Here
from wmvla.policy.frozen_vision import encode_images, take_features

STEPS, ROUNDS = {"cpu": 2, "cuda": 10}, 3
CLOCK = {"cpu": time.process_time, "cuda": time.perf_counter}
"""CPU seconds on a CPU, which a busy neighbour does not lengthen."""
Measure = Callable[..., None]


def two_steps(here: Here, folder: Path, arm: str) -> list[TrainingStep]:
    torch.set_num_threads(1)
    return [TrainingStep(here, arm, folder / name) for name in ("plain", "other")]


def turn_to_features(step: TrainingStep) -> None:
    """Encode the batch's images, and go on from what they gave."""
    precision = step.here.machine.precision
    step.batch |= {
        key: encode_images(step.policy, key, step.batch[key], precision) for key in CAMERAS
    }
    take_features(step.policy)


def turn_to_images(step: TrainingStep, images: dict[str, torch.Tensor]) -> None:
    """Undo ``turn_to_features``."""
    step.batch = images
    del step.policy.prepare_images, step.policy.model.vlm_with_expert.embed_image


def counted(work: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, float]:
    """What ``work`` gives, and the floating-point operations that torch counts in it."""
    with FlopCounterMode(display=False) as counter:
        found = work()
    return found, counter.get_total_flops()


def assert_alike(
    here: Here, one: torch.Tensor, other: torch.Tensor, bf16: float = 2e-3, fp32: float = 1e-5
) -> None:
    rtol = bf16 if here.machine.precision == "bf16" else fp32
    torch.testing.assert_close(one, other, rtol=rtol, atol=fp32)


def fastest_turns(
    benchmark: Any, here: Here, plain: TrainingStep, other: TrainingStep
) -> tuple[float, float]:
    """Seconds of one step of each, of its fastest turn."""
    clock, steps = CLOCK[here.device], STEPS[here.device]

    def turn(step: TrainingStep) -> float:
        began = clock()
        for _ in range(steps):
            step()
        if here.device == "cuda":
            torch.cuda.synchronize()
        return (clock() - began) / steps

    each = functools.partial(turn, plain), functools.partial(turn, other)
    found = take_turns(benchmark, *each, ROUNDS)
    return min(found[0]), min(found[1])


@pytest.mark.parametrize("arm", ["E0", "E2"])
def test_training_on_cached_vision(
    benchmark: Any, here: Here, measured: Measure, tmp_path: Path, arm: str
) -> None:
    plain, cached = two_steps(here, tmp_path, arm)
    turn_to_features(cached)
    (loss, operations), (same, fewer) = counted(plain), counted(cached)
    assert_alike(here, loss, same)
    whole, less = fastest_turns(benchmark, here, plain, cached)
    beside = {
        "encoding_samples_per_second": plain.samples / whole,
        "ratio": whole / less,
        "percent_of_operations_saved": 100 * (1 - fewer / operations),
        "samples": plain.samples,
    }
    measured(f"train_{arm}_cached", plain.samples / less, "samples/s", **beside)


@pytest.mark.slow
def test_operations_of_a_published_step(benchmark: Any, here: Here, tmp_path: Path) -> None:
    """One sample, forward and backward. The cached step comes first, so it pays for the start."""
    torch.set_num_threads(1)
    step = TrainingStep(here, "E0", tmp_path, REAL, 1)
    images = dict(step.batch)
    turn_to_features(step)
    clock = CLOCK[here.device]
    figures: dict[str, tuple[torch.Tensor, float, float]] = {}

    def timed(what: str) -> None:
        began = clock()
        loss, operations = counted(step.losses)
        figures[what] = loss, operations, clock() - began

    benchmark.pedantic(lambda: timed("cached"), rounds=1)
    turn_to_images(step, images)
    timed("encoding")
    cached, encoding = figures["cached"], figures["encoding"]
    assert_alike(here, cached[0], encoding[0])
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
    plain, compiled = two_steps(here, tmp_path, "E2")
    compiled.forward = torch.compile(compiled.policy.forward)
    began = time.perf_counter()
    ours = compiled()
    seconds = time.perf_counter() - began
    assert_alike(here, ours, plain(), bf16=1e-2, fp32=1e-4)
    for step in (plain, compiled):
        step()
    whole, less = fastest_turns(benchmark, here, plain, compiled)
    won = whole - less
    beside = {
        "plain_samples_per_second": plain.samples / whole,
        "ratio": whole / less,
        "seconds_to_compile": seconds,
        "steps_that_pay_for_it": seconds / won if won > 0 else float("inf"),
    }
    measured("train_E2_compiled", plain.samples / less, "samples/s", **beside)
