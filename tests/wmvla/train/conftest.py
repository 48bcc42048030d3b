"""A base checkpoint, and arms that are trained from it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from wmvla.train.checkpoint import pretrained_folder
from wmvla.train.job import TrainingJob
from wmvla.train.loop import train

from ..conftest import TRAINING, Toy


@pytest.fixture(scope="session")
def base_job(toy: Toy, tmp_path_factory) -> TrainingJob:
    job = toy.scratch_job(tmp_path_factory.mktemp("base"))
    train(job)
    return job


@pytest.fixture(scope="session")
def arm(toy: Toy, base_job: TrainingJob) -> Callable[..., TrainingJob]:
    """Makes the job of an E2 run in a folder."""
    checkpoint = pretrained_folder(Path(base_job.checkpoints), TRAINING.steps)

    def make(folder: Path, **changes: object) -> TrainingJob:
        return toy.scratch_job(
            folder,
            case="E2-train-s0",
            scratch=None,
            base=str(checkpoint),
            world=toy.world,
            **changes,
        )

    return make
