"""How fast the device is, and how much of it training and encoding use: at the published sizes on a GPU, tiny ones on a CPU.

The machine's references decide: pass, fail, or no reference. Every figure of a model stands beside the matrix product that was
measured on the same device, for a peak on paper is reached by nothing. Operations are counted by torch, not estimated.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Here
from device_speed import REPEATS, matrix_product, measured_tflops, memory_copy, seconds_of
from torch.utils.flop_counter import FlopCounterMode

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
CPU_SAMPLES, GPU_SAMPLES = 4, 32
CLIPS = {"cpu": 2, "cuda": 32}
STEPS = {"cpu": 2, "cuda": 10}
ROUNDS = 3
Told = Callable[..., None]


@pytest.fixture(scope="module")
def gemm(here: Here) -> float:
    """10^12 operations a second of a matrix product in the machine's precision."""
    return measured_tflops(here.device, DTYPES[here.machine.precision])


def fastest(benchmark: Any, work: Callable[[], object], device: str, repeats: int) -> float:
    """Seconds of `work`: the best round of several, after one that warms up. The benchmark's time is that of a round."""
    spent: list[float] = []
    benchmark.pedantic(lambda: spent.append(seconds_of(work, device, repeats)), rounds=ROUNDS, warmup_rounds=1)
    return min(spent[1:])


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_matrix_product(benchmark: Any, here: Here, measured: Told, precision: str) -> None:
    work, operations = matrix_product(here.device, DTYPES[precision])
    tflops = operations / fastest(benchmark, work, here.device, REPEATS[here.device]) / 1e12
    assert work().isfinite().all()
    peak = here.performance.peak
    share = {"percent_of_peak": 100 * tflops / getattr(peak, f"{precision}_tflops")} if peak else {}
    measured(f"gemm_{precision}", tflops, "TFLOP/s", **share)


def test_memory_copy(benchmark: Any, here: Here, measured: Told) -> None:
    work, moved = memory_copy(here.device)
    gigabytes = moved / fastest(benchmark, work, here.device, REPEATS[here.device]) / 1e9
    assert not work().any()
    peak = here.performance.peak
    share = {"percent_of_peak": 100 * gigabytes / (1e3 * peak.bandwidth_tb)} if peak else {}
    measured("copy", gigabytes, "GB/s", **share)


@pytest.mark.parametrize("arm", ["E0", "E1", "E2"])
def test_training(benchmark: Any, here: Here, measured: Told, gemm: float, tmp_path: Path, arm: str) -> None:
    """Forward, backward and update on a batch that lies on the device already."""
    from model_sizes import make_batch, make_policy, make_vlm, policy_config, size_for

    from bench.suite import load_suite
    from wmvla.sim.libero.language import task_sentences
    from wmvla.train.step import make_optimizer, parameter_groups

    device, size = here.device, size_for(here.device)
    samples = here.performance.device_batch or (GPU_SAMPLES if device == "cuda" else CPU_SAMPLES)
    policy = make_policy(policy_config(arm, make_vlm(tmp_path / "vlm", size, task_sentences()), size, device))
    batch = make_batch(policy, samples, size, device)
    optimizer = make_optimizer(parameter_groups(policy), load_suite("core").scales["full"].recipe.training)
    trained = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    losses: list[torch.Tensor] = []

    def step() -> None:
        with autocast(here):
            per_sample, details = policy.forward(batch, reduction="none")
        loss = details.get("action_loss_per_sample", per_sample).mean()
        if "world_loss_per_sample" in details:
            loss = loss + policy.config.lambda_world * details["world_loss_per_sample"].mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 10.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())

    with FlopCounterMode(display=False) as counter:
        step()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = fastest(benchmark, step, device, STEPS[device])
    assert torch.stack(losses).isfinite().all()
    beside = {"percent_of_gemm": 100 * counter.get_total_flops() / seconds / 1e12 / gemm, "samples": samples}
    if device == "cuda":
        beside["peak_memory_gib"] = torch.cuda.max_memory_allocated() / 2**30
    beside["million_parameters"] = sum(parameter.numel() for parameter in policy.parameters()) / 1e6
    measured(f"train_{arm}", samples / seconds, "samples/s", **beside)


def test_encoding(benchmark: Any, here: Here, measured: Told, gemm: float, tmp_path: Path) -> None:
    """Clips of the world encoder, preprocessed already."""
    from model_sizes import WINDOW, make_encoder, size_for

    from wmvla.world.encoder import WorldEncoder

    device, size = here.device, size_for(here.device)
    encoder = WorldEncoder(str(make_encoder(tmp_path / "encoder", size)), device)
    side = size.encoder["crop_size"]
    clips = torch.randn(CLIPS[device], WINDOW, 3, side, side, device=device)

    def encode() -> torch.Tensor:
        with autocast(here):
            return encoder.encode(clips)

    with FlopCounterMode(display=False) as counter:
        latents = encode()
    assert latents.shape == (len(clips), size.encoder["hidden_size"])
    assert latents.isfinite().all()
    seconds = fastest(benchmark, encode, device, STEPS[device])
    beside = {"percent_of_gemm": 100 * counter.get_total_flops() / seconds / 1e12 / gemm, "clips": len(clips)}
    beside["million_parameters"] = sum(parameter.numel() for parameter in encoder.model.parameters()) / 1e6
    measured("encode", len(clips) / seconds, "clips/s", **beside)


def autocast(here: Here) -> contextlib.AbstractContextManager[object]:
    """The machine's precision, as training has it."""
    return torch.autocast(here.device, torch.bfloat16) if here.machine.precision == "bf16" else contextlib.nullcontext()
