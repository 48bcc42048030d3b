"""What a machine's file says of training reaches the training job, and means the same there."""

import dataclasses
import typing
from pathlib import Path

import pytest

from bench.plan.machine import Machine, load_machine
from bench.plan.make import make_plan
from bench.plan.overrides import Overrides
from bench.plan.suite import load_suite
from bench.run.stages import training
from bench.run.stages.context import Context
from wmvla.train.job import TrainingJob
from wmvla.train.parallel.strategy import STRATEGIES, check_strategy


def test_machines_know_the_strategies_of_the_training_loop() -> None:
    assert typing.get_args(typing.get_type_hints(Machine)["strategy"]) == STRATEGIES


@pytest.mark.parametrize(("strategy", "parts"), [("ddp", 1), ("zero2", 4)])
def test_the_machines_strategy_and_parts_are_the_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strategy: str, parts: int
) -> None:
    jobs: list[TrainingJob] = []
    monkeypatch.setattr(training, "run_job", lambda context, job: jobs.append(job))
    monkeypatch.setattr(training, "base_checkpoint", lambda context: Path("base"))
    machine = dataclasses.replace(
        load_machine("h100-8"), strategy=strategy, accumulation_steps=parts
    )
    plan = make_plan(load_suite("core"), "mini", machine, Overrides(arms=("E0",)))
    training.run(Context(plan, tmp_path, None, (), False, None), plan.case("E0-train-s0"))
    (job,) = jobs
    assert (job.strategy, job.accumulation_steps, job.precision, job.device) == (
        strategy,
        parts,
        "bf16",
        "cuda",
    )
    check_strategy(job, machine.training_processes)
