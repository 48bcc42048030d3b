"""A machine's ``cache_vision``: it reaches the training job, and changes nothing where the vision
tower is trained."""

import dataclasses
import json
from pathlib import Path

import jsonschema
import pytest

from bench.commands.plan import describe
from bench.plan.files import plan_from_json
from bench.plan.machine import load_machine
from bench.plan.make import make_plan
from bench.plan.overrides import Overrides
from bench.plan.suite import load_suite
from bench.run.stages import training
from bench.run.stages.context import Context
from wmvla.errors import UserError
from wmvla.train.job import TrainingJob

CORE = load_suite("core")
H100 = load_machine("h100")
CACHING = dataclasses.replace(H100, cache_vision=True)
ONE_ARM = Overrides(arms=("E0",))
SCHEMA = Path(training.__file__).parents[2] / "formats" / "schemas" / "plan.schema.json"


@pytest.mark.parametrize("caches", [False, True])
def test_the_cache_of_the_run_is_the_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caches: bool
) -> None:
    jobs: list[TrainingJob] = []
    monkeypatch.setattr(training, "run_job", lambda context, job: jobs.append(job))
    monkeypatch.setattr(training, "base_checkpoint", lambda context: Path("base"))
    plan = make_plan(CORE, "full", CACHING if caches else H100, ONE_ARM)
    context = Context(plan, tmp_path / "results" / "run", None)
    training.run(context, plan.case("E0-train-s0"))
    assert jobs[0].vision_cache == (str(tmp_path / "cache") if caches else "")


def test_it_is_part_of_the_plan_where_the_vision_tower_is_frozen() -> None:
    plain, caching = (make_plan(CORE, "full", machine) for machine in (H100, CACHING))
    assert plain.hash != caching.hash
    document = json.loads(json.dumps(caching.to_json()))
    assert plan_from_json(document) == caching
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    assert [
        sum("encoded once" in line for line in describe(plan)) for plan in (plain, caching)
    ] == [0, 1]


def test_where_the_vision_tower_is_trained_it_changes_nothing() -> None:
    assert make_plan(CORE, "mini", CACHING) == make_plan(CORE, "mini", H100)


def test_images_that_are_shifted_cannot_be_cached() -> None:
    full = CORE.scales["full"]
    shifting = dataclasses.replace(full, training=dataclasses.replace(full.training, image_shift=2))
    suite = dataclasses.replace(CORE, scales={"full": shifting})
    make_plan(suite, "full", H100)
    with pytest.raises(
        UserError,
        match=r"'training.image_shift' is 2, .*; set 'cache_vision = false' for machine 'h100'",
    ):
        make_plan(suite, "full", CACHING)
