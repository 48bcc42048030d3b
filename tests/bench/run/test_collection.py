"""What ``pytest suites/`` collects: the cases of the chosen suite's plan, plain benchmarks where
they are asked for."""

import subprocess
import sys
from pathlib import Path

from synthetic_run import plan_of

ROOT = Path(__file__).parents[3]


def collected(*arguments: str) -> list[str]:
    """Ids of the items, without their folder."""
    quiet_once = (
        "-o",
        "addopts=",
        "-q",
    )  # twice, as by pyproject.toml and here, and only their number is told
    command = [
        sys.executable,
        "-m",
        "pytest",
        "suites/",
        "--collect-only",
        *quiet_once,
        "--scale=smoke",
        "--machine=cpu",
    ]
    done = subprocess.run(
        [*command, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [line.rpartition("/")[2] for line in done.stdout.splitlines() if "::" in line]


def cases_of(suite: str) -> list[str]:
    """Ids of the items that a suite's plan becomes."""
    test = f"test_{suite.replace('-', '_')}"
    return [f"{test}.py::{test}[{case.id}]" for case in plan_of(suite, "smoke").cases]


def test_a_suite_is_the_cases_of_its_plan() -> None:
    assert collected("--suite", "controls-negative") == cases_of("controls-negative")


def test_a_shard_has_the_rollouts_only() -> None:
    wanted = [
        f"test_core.py::test_core[{case.id}]" for case in plan_of("core", "smoke").rollout_cases()
    ]
    assert collected("--suite", "core", "--shard", "2/3") == wanted


def test_cases_can_be_named() -> None:
    """`-k E2-train-s0` would match more where another name has it in itself."""
    named = ("--case", "E2-train-s0", "--case", "base")
    assert collected("--suite", "core", *named) == [
        "test_core.py::test_core[base]",
        "test_core.py::test_core[E2-train-s0]",
    ]
    assert collected("--suite", "core", "--case", "E2-pred-s0", "--shard", "2/3") == [
        "test_core.py::test_core[E2-pred-s0]"
    ]


def test_an_arm_with_a_dash_can_be_chosen() -> None:
    found = collected("--suite", "fusion", "-k", "F3a-prefix")
    assert [name.partition("[")[2] for name in found] == [
        "F3a-prefix-train-s0]",
        "F3a-prefix-pred-s0]",
        "F3a-prefix-zero-s0]",
        "F3a-prefix-replay-s0]",
    ]


def test_benchmarks_without_a_plan_are_collected_by_their_name_and_by_all() -> None:
    throughput = collected("--suite", "throughput")
    assert throughput
    assert not [
        name for name in throughput if name.startswith(("test_core", "test_fusion", "test_memory"))
    ]
    everything = collected("--suite", "all")
    suites = ("core", "fusion", "memory", "controls", "controls-negative", "controls-prediction")
    assert {*throughput, *(name for suite in suites for name in cases_of(suite))} == set(everything)
    assert len(everything) == len(set(everything))
