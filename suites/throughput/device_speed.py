"""What the device itself can do: a matrix product, a memory copy. All speeds stand beside these."""

from collections.abc import Callable

import torch
from clocks import seconds_of

GEMM_SIDE = {"cpu": 512, "cuda": 8192}
"""Rows and columns of the square matrices. On a GPU large enough that the launch does not count."""
COPY_BYTES = {"cpu": 2**26, "cuda": 2**32}
REPEATS = {"cpu": 5, "cuda": 50}


def matrix_product(device: str, dtype: torch.dtype) -> tuple[Callable[[], torch.Tensor], float]:
    """A product of two square matrices of noise, and its floating-point operations: 2 n^3."""
    side = GEMM_SIDE[device]
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    result = torch.empty_like(left)
    return lambda: torch.mm(left, right, out=result), 2.0 * side**3


def memory_copy(device: str) -> tuple[Callable[[], torch.Tensor], float]:
    """A copy inside the device's memory, and the bytes that it moves: read once, written once."""
    source = torch.zeros(COPY_BYTES[device], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return lambda: target.copy_(source), 2.0 * COPY_BYTES[device]


def measured_tflops(device: str, dtype: torch.dtype) -> float:
    """10^12 operations a second of the matrix product, after a warm-up; the best of three."""
    work, operations = matrix_product(device, dtype)
    seconds_of(work, device, 3)
    return operations / min(seconds_of(work, device, REPEATS[device]) for _ in range(3)) / 1e12
