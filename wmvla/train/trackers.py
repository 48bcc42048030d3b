"""Metrics to TensorBoard or W&B on request, through accelerate's trackers."""

from dataclasses import asdict
from typing import Any

from accelerate import Accelerator
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
from accelerate.utils import LoggerType

from wmvla.errors import UserError
from wmvla.train.job import TrainingJob


def check_trackers(names: tuple[str, ...]) -> None:
    """UserError for a tracker that accelerate does not know, or whose package is not installed."""
    known = [str(kind) for kind in LOGGER_TYPE_TO_CLASS]
    available = [LoggerType(kind).value for kind in get_available_trackers()]
    for name in names:
        if name not in known:
            raise UserError(f"tracker {name!r} is unknown: choose {', '.join(known)}.")
        if name not in available:
            raise UserError(
                f"tracker {name!r} is not installed: uv pip install {name}, or leave the tracker"
                " out."
            )


def start_trackers(accelerator: Accelerator, job: TrainingJob) -> None:
    """Open the job's trackers, one run named after the case."""
    if job.trackers:
        settings = {
            key: value
            for key, value in asdict(job.training).items()
            if isinstance(value, int | float | str)
        }
        accelerator.init_trackers(job.case, config={"case": job.case, "seed": job.seed, **settings})


def log_to_trackers(accelerator: Accelerator, line: dict[str, Any]) -> None:
    """One line of the metrics file; of a list each number by its place, counted from 1."""
    if accelerator.trackers:
        values: dict[str, float] = {}
        for name, value in line.items():
            if isinstance(value, list):
                values |= {f"{name}/{place}": number for place, number in enumerate(value, 1)}
            else:
                values[name] = value
        accelerator.log(values, step=line["step"])


def finish_trackers(accelerator: Accelerator) -> None:
    """Close them; what they hold back is written.

    Non-obvious: accelerate's own ``end_training`` ends the process group too, which DDP still holds
    (``wmvla.train.main.leave``).
    """
    for tracker in accelerator.trackers:
        tracker.finish()
