"""A sealed run, made once: tests copy it before they change anything."""

import shutil
from pathlib import Path

import pytest
from sealed_run import sealed_run


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed run that nobody may write to."""
    return sealed_run(tmp_path_factory.mktemp("results") / "run")


@pytest.fixture
def run_dir(original: Path, tmp_path: Path) -> Path:
    """A copy of the sealed run, to be damaged."""
    return Path(shutil.copytree(original, tmp_path / "results" / "run"))
