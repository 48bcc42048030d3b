"""A site of the tests, a plan as its jobs, and a Slurm of this machine's own."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from on_cluster import CLUSTER
from synthetic_run import core_plan

from bench.plan.document import Plan
from bench.run.slurm.script import Site


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


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a Slurm that is up. Skips where there can be none."""
    if os.getuid() != 0:
        pytest.skip("a Slurm of its own needs root")
    folder = tmp_path_factory.mktemp("slurm")
    started = subprocess.run(
        ["bash", str(CLUSTER), "start", str(folder)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if started.returncode:
        pytest.skip(
            f"no Slurm here: {(started.stderr.strip().splitlines() or ['no reason given'])[-1]}"
        )
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    try:
        yield folder
    finally:
        subprocess.run(["bash", str(CLUSTER), "stop", str(folder)], timeout=120, check=True)
        os.environ.pop("SLURM_CONF") if before is None else os.environ.update(SLURM_CONF=before)
