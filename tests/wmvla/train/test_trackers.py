"""Trackers on request: TensorBoard gets what the metrics file gets; an unknown tracker is one
line."""

import dataclasses
import json
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from wmvla.train.loop import train
from wmvla.train.trackers import check_trackers

from ..conftest import TRAINING, Toy


def test_tensorboard_gets_every_step(toy: Toy, tmp_path):
    job = toy.scratch_job(tmp_path, case="E0-train-s0", trackers=("tensorboard",))
    train(dataclasses.replace(job, training=dataclasses.replace(TRAINING, steps=3, log_every=2)))
    # Beside its settings, which TensorBoard keeps in a folder further down.
    (folder,) = {
        path.parent
        for path in tmp_path.rglob("events.out.tfevents.*")
        if path.parent.name == "E0-train-s0"
    }
    events = EventAccumulator(str(folder)).Reload()
    rows = [json.loads(line) for line in Path(job.metrics).read_text().splitlines()]
    assert [event.step for event in events.Scalars("loss_total")] == [1, 2, 3]
    assert [event.value for event in events.Scalars("loss_total")] == pytest.approx(
        [row["loss_total"] for row in rows]
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [("tensorbord", "'tensorbord' is unknown: choose"), ("aim", "'aim' is not installed")],
)
def test_a_tracker_that_is_not_there_is_one_line(name, message):
    with pytest.raises(ValueError, match=message):
        check_trackers((name,))
