"""Settings and fixtures of all tests of bench. Its folder holds `synthetic_run` and `sealed_run`,
which pytest makes importable through this file."""

import shutil
from pathlib import Path

import pytest
from hypothesis import settings
from sealed_run import sealed_run

# Two busy cores make single examples slow; how long one takes says nothing about what it tests.
settings.register_profile("busy", deadline=None)
settings.load_profile("busy")


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed run that nobody may write to."""
    return sealed_run(tmp_path_factory.mktemp("results") / "run")


@pytest.fixture
def run_dir(original: Path, tmp_path: Path) -> Path:
    """A copy of the sealed run, to be damaged."""
    return Path(shutil.copytree(original, tmp_path / "results" / "run"))
