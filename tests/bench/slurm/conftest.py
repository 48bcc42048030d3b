"""A site of the tests, and a plan as its jobs."""

from pathlib import Path

import pytest
from synthetic_run import core_plan

from bench.plan import Plan
from bench.slurm.script import Site


@pytest.fixture(scope="session")
def plan() -> Plan:
    return core_plan("smoke")


@pytest.fixture
def site() -> Site:
    return Site(
        run_dir=Path("/shared/results/core-smoke-cpu-12345678"),
        command=("core", "--scale=smoke", "--machine=cpu", "--results=/shared/results"),
        start_in=Path("/shared/wmbench"),
        python="/shared/wmbench/.venv/bin/python",
        accelerator="cpu",
    )
