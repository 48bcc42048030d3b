"""How fast a machine is: peaks of its data sheet, measured references, and judging by them.

As in ReFrame a benchmark is judged twice: that it is right (the test's own asserts), and that it is
as fast as the reference says. Without a reference there is no second judgement.
"""

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal

from msgspec import Meta

from wmvla.errors import UserError
from wmvla.ranges import AboveZero, Natural, Number

Reason = Annotated[str, Meta(pattern=r"\S", extra={"says": "a reason"})]


@dataclass(frozen=True)
class Peak:
    """What one device could do at most, by its data sheet: dense, no structured sparsity."""

    source: str
    bf16_tflops: AboveZero
    """10^12 floating-point operations a second, bfloat16 in, matrix units."""
    fp32_tflops: AboveZero
    """The same in IEEE single precision (no TF32)."""
    bandwidth_tb: AboveZero
    """10^12 bytes a second, of the device's own memory."""


@dataclass(frozen=True)
class PerformanceReference:
    """A figure that was measured on this machine, and how far off another measurement may be."""

    value: AboveZero
    unit: str
    date: str
    """ISO 8601, of the measurement."""
    commit: Annotated[str, Meta(pattern="^[0-9a-f]{7,40}$", extra={"says": "a commit's hash"})]
    """Of this repository, when it was measured."""
    command: str
    """What measured it."""
    lower: Annotated[float, Meta(ge=-1, le=0)] | None = None
    """The least that passes, as a fraction of `value`: -0.1 is a tenth less. None: anything."""
    upper: Number | None = None
    """The most that passes, likewise: 0.1 is a tenth more."""

    def bounds(self) -> dict[str, float]:
        """``least`` and ``most`` that pass, in the reference's unit, as far as they are given."""
        given = {"least": self.lower, "most": self.upper}
        return {
            name: self.value * (1 + share) for name, share in given.items() if share is not None
        }


@dataclass(frozen=True)
class Performance:
    device: str = ""
    """A regular expression for torch's names of its GPUs; empty: never detected by it."""
    device_batch: Natural = 0
    """Samples that a device takes at once in a timed training; 0: the benchmark's few."""
    peak: Peak | None = None
    references: dict[str, PerformanceReference] = field(default_factory=dict)
    """By benchmark, for instance ``gemm_bf16``."""
    expected_failures: dict[str, Reason] = field(default_factory=dict)
    """Why a benchmark is known to miss its reference."""


@dataclass(frozen=True)
class Judgement:
    status: Literal["pass", "fail", "no reference", "expected failure", "unexpected pass"]
    """An expected failure fails nothing. An unexpected pass does: its reason no longer holds."""
    sentence: str


def judge(performance: Performance, benchmark: str, value: float, unit: str) -> Judgement:
    """`value` against the machine's reference and bounds. UserError: another unit."""
    reference = performance.references.get(benchmark)
    if reference is None:
        return Judgement("no reference", f"{benchmark}: {value:.4g} {unit}, no reference")
    if reference.unit != unit:
        raise UserError(
            f"the reference of '{benchmark}' is in {reference.unit}, but the measured value is in "
            f"{unit}; fix the machine's file"
        )
    bounds = reference.bounds()
    least, most = bounds.get("least"), bounds.get("most")
    within = (least is None or value >= least) and (most is None or value <= most)
    low, high = ("any" if one is None else f"{one:.4g}" for one in (least, most))
    reference_text = f"{reference.value:.4g} on {reference.date}"
    sentence = f"{benchmark}: {value:.4g} {unit}, {low} to {high} wanted ({reference_text})"
    reason = performance.expected_failures.get(benchmark)
    if reason is None:
        return Judgement("pass" if within else "fail", sentence)
    if within:
        return Judgement("unexpected pass", f"{sentence}; remove its expected failure: {reason}")
    return Judgement("expected failure", f"{sentence}; expected: {reason}")


def performance_faults(performance: Performance) -> Iterator[str]:
    """What no type says: a pattern, dates, and names that must exist."""
    try:
        re.compile(performance.device)
    except re.error as error:
        yield f"'device' is not a regular expression: {error}"
    for benchmark, reference in performance.references.items():
        key = f"references.{benchmark}"
        if reference.lower is None and reference.upper is None:
            yield f"'{key}' has neither 'lower' nor 'upper', so nothing could fail; give one"
        try:
            datetime.date.fromisoformat(reference.date)
        except ValueError:
            yield f"'{key}.date' must be like 2026-11-23, not '{reference.date}'"
    for benchmark in performance.expected_failures:
        if benchmark not in performance.references:
            key = f"expected_failures.{benchmark}"
            yield f"'{key}' has no reference, so it cannot fail; remove it"
