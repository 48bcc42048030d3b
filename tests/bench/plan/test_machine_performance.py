"""References of a machine: what passes, what fails, what has none, and files that say nonsense."""

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.plan.machine import load_performance
from bench.plan.machine_performance import Performance, PerformanceReference, judge
from wmvla.errors import UserError

REFERENCE = PerformanceReference(
    700.0, "TFLOP/s", "2026-11-23", "0123abc", "pytest suites/", lower=-0.1, upper=0.05
)
FILE = """
name = "a"
accelerator = "cuda"
training_processes = 1
rollout_workers = 0
precision = "bf16"
default_scale = "mini"

[references.gemm]
value = 700
unit = "TFLOP/s"
lower = -0.1
date = "2026-11-23"
commit = "0123abc"
command = "pytest suites/ --suite throughput -k device"

[expected_failures]
gemm = "a known fault of the driver"
"""


def of(reference: PerformanceReference) -> Performance:
    return Performance(references={"gemm": reference})


@pytest.mark.parametrize(
    ("value", "lower", "upper", "status"),
    [
        (700.0, -0.1, 0.05, "pass"),
        (630.0, -0.1, 0.05, "pass"),
        (629.9, -0.1, 0.05, "fail"),
        (735.0, -0.1, 0.05, "pass"),
        (735.1, -0.1, 0.05, "fail"),
        (9999.0, -0.1, None, "pass"),
        (0.1, None, 0.05, "pass"),
    ],
)
def test_bounds_are_fractions_of_the_reference(
    value: float, lower: float | None, upper: float | None, status: str
) -> None:
    found = judge(
        of(dataclasses.replace(REFERENCE, lower=lower, upper=upper)), "gemm", value, "TFLOP/s"
    )
    assert found.status == status
    assert f"{value:.4g} TFLOP/s" in found.sentence
    assert "700 on 2026-11-23" in found.sentence


@given(st.floats(1e-6, 1e6), st.floats(-1, 0), st.floats(0, 5))
def test_the_reference_itself_always_passes(value: float, lower: float, upper: float) -> None:
    reference = dataclasses.replace(REFERENCE, value=value, lower=lower, upper=upper)
    assert judge(of(reference), "gemm", value, "TFLOP/s").status == "pass"


def test_a_machine_that_was_not_measured_has_no_reference_and_says_so() -> None:
    found = judge(Performance(), "gemm", 12.0, "TFLOP/s")
    assert (found.status, found.sentence) == ("no reference", "gemm: 12 TFLOP/s, no reference")


@pytest.mark.parametrize(
    ("value", "status"), [(100.0, "expected failure"), (700.0, "unexpected pass")]
)
def test_an_expected_failure_says_why_and_must_still_fail(value: float, status: str) -> None:
    performance = dataclasses.replace(of(REFERENCE), expected_failures={"gemm": "a known fault"})
    found = judge(performance, "gemm", value, "TFLOP/s")
    assert found.status == status
    assert found.sentence.endswith(": a known fault")


def test_another_unit_is_refused() -> None:
    with pytest.raises(UserError, match="is in TFLOP/s, but the measured value is in GB/s"):
        judge(of(REFERENCE), "gemm", 12.0, "GB/s")


def test_references_are_read_from_the_machines_file(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(FILE)
    performance = load_performance("a", tmp_path)
    assert performance.references["gemm"].lower == -0.1
    assert performance.references["gemm"].upper is None
    assert performance.expected_failures == {"gemm": "a known fault of the driver"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("value = 700", "value = 0", "'references.gemm.value' must be above 0"),
        ("lower = -0.1", "lower = 0.1", "'references.gemm.lower' must lie between -1 and 0"),
        ("lower = -0.1", "upper = -0.1", "'references.gemm.upper' must be at least 0"),
        ("lower = -0.1\n", "", "has neither 'lower' nor 'upper'"),
        ("2026-11-23", "yesterday", "'references.gemm.date' must be like 2026-11-23"),
        ("0123abc", "main", "'references.gemm.commit' must be a commit's hash"),
        ('unit = "TFLOP/s"\n', "", "missing key 'references.gemm.unit'"),
        ("lower = -0.1", "lowest = -0.1", "unknown key 'references.gemm.lowest'"),
        ("gemm = ", "copy = ", "'expected_failures.copy' has no reference"),
        ("a known fault of the driver", " ", "'expected_failures.gemm' must be a reason"),
    ],
)
def test_a_reference_that_cannot_be_is_refused(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert FILE.count(old) == 1
    (tmp_path / "a.toml").write_text(FILE.replace(old, new))
    with pytest.raises(UserError, match=message):
        load_performance("a", tmp_path)
