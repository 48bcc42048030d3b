"""A SmolVLA checkpoint and the flags that fit the toy parts."""

import logging
from collections.abc import Iterator

import pytest
from accelerate.state import AcceleratorState

from ..conftest import Toy


@pytest.fixture(scope="session")
def world_flags(toy: Toy) -> list[str]:
    """The policy's fields for the toy latents."""
    return [f"--policy.{name}={value}" for name, value in toy.world.items()]


@pytest.fixture(scope="session")
def data_flags(toy: Toy) -> list[str]:
    """LeRobot's flags for a few training steps on the toy dataset."""
    return [
        f"--dataset.repo_id={toy.repo_id}", f"--dataset.root={toy.dataset}", "--batch_size=4", "--num_workers=0",
        "--log_freq=1", "--policy.device=cpu", "--policy.push_to_hub=false",
    ]  # fmt: skip


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The commands are the process's main: they write ``sys.argv``, LeRobot's set up logging and
    accelerate's state."""
    monkeypatch.setattr("sys.argv", ["pytest"])
    logger = logging.getLogger()
    handlers, level = list(logger.handlers), logger.level
    yield
    logger.handlers, logger.level = handlers, level
    AcceleratorState._reset_state(reset_partial_state=True)
