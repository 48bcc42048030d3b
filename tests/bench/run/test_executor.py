"""The executor: needs first, every case once, failures told to all that depend on them."""

import dataclasses
import errno
import json
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from bench.host.energy import Counter, NoReading
from bench.plan.cases import WIRING, Case
from bench.plan.document import Plan
from bench.plan.make import resolve_plan
from bench.run import executor as module
from bench.run.executor import Executor, _whole, failure_path, record_path
from bench.run.stages.context import Context
from wmvla.errors import UserError


@pytest.fixture
def plan() -> Plan:
    return resolve_plan("core", "smoke", "cpu")


@pytest.fixture
def played(monkeypatch) -> list[str]:
    """The ids of the cases whose stage ran, in order; the stages only write a file."""
    order: list[str] = []

    def stage(context: Context, case: Case) -> dict[str, Any]:
        order.append(case.id)
        artefact = context.run_dir / f"{case.id}.txt"
        artefact.write_text(case.id)
        return {"artefacts": {"text": artefact.resolve()}, "figure": 7}

    monkeypatch.setattr(
        module,
        "STAGES",
        dict.fromkeys(["demonstrations", "base", "latents", "wiring", "train"], stage),
    )
    return order


def run_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "results" / "run"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_a_case_runs_after_its_needs_and_only_those(plan, played, tmp_path):
    record = Executor(plan, run_dir(tmp_path)).ensure("E2-train-s0")
    assert sorted(played) == [
        "E2-train-s0",
        "base",
        "demonstrations",
        "latents",
        *sorted(f"wiring-{name}" for name in WIRING),
    ]
    assert played[-1] == "E2-train-s0"
    assert played.index("demonstrations") < min(played.index("base"), played.index("latents"))
    assert record["figure"] == 7
    assert record["artefacts"] == {"text": "results/run/E2-train-s0.txt"}


def test_finished_cases_are_reused_by_another_executor(plan, played, tmp_path):
    Executor(plan, run_dir(tmp_path)).ensure("E0-train-s0")
    before = list(played)
    record = Executor(plan, run_dir(tmp_path)).ensure("E0-train-s0")
    assert played == before
    assert record == json.loads(record_path(run_dir(tmp_path), "E0-train-s0").read_text())


def test_a_case_whose_artefact_was_removed_runs_again(plan, played, tmp_path):
    Executor(plan, run_dir(tmp_path)).ensure("base")
    (run_dir(tmp_path) / "base.txt").unlink()
    Executor(plan, run_dir(tmp_path)).ensure("base")
    assert played == ["demonstrations", "base", "base"]


def test_a_failure_is_told_to_every_dependent_and_not_tried_again(
    plan, played, tmp_path, monkeypatch
):
    tries = []

    def fail(context: Context, case: Case) -> dict[str, Any]:
        tries.append(case.id)
        raise RuntimeError("the disk melted")

    monkeypatch.setitem(module.STAGES, "base", fail)
    executor = Executor(plan, run_dir(tmp_path))
    for case in ("base", "E0-train-s0", "E1-train-s0"):
        with pytest.raises(RuntimeError, match="the disk melted"):
            executor.ensure(case)
    assert tries == ["base"]
    assert not record_path(run_dir(tmp_path), "base").exists()
    executor.ensure("latents")  # what does not depend on it still runs
    assert (
        json.loads(failure_path(run_dir(tmp_path), "base").read_text())["error"]
        == "the disk melted"
    )

    monkeypatch.setitem(module.STAGES, "base", module.STAGES["latents"])
    Executor(plan, run_dir(tmp_path)).ensure("base")
    assert failure_path(run_dir(tmp_path), "base").exists(), "what stopped an earlier try stays"


def test_a_full_disk_ends_in_one_line(plan, played, tmp_path, monkeypatch):
    def fill(context: Context, case: Case) -> dict[str, Any]:
        raise OSError(errno.ENOSPC, "No space left on device", "/data/model.safetensors")

    monkeypatch.setitem(module.STAGES, "base", fill)
    with pytest.raises(UserError, match="The disk is full at /data/model") as caught:
        Executor(plan, run_dir(tmp_path)).ensure("base")
    assert "\n" not in str(caught.value)
    assert record_path(run_dir(tmp_path), "demonstrations").exists()


def test_held_out_demonstrations_have_a_dataset_of_their_own_and_leave_the_other_as_it_is(
    plan, tmp_path
):
    context = Context(plan, run_dir(tmp_path), None)
    assert (
        context.held_out.plan.recipe.demonstrations.inits
        == plan.recipe.demonstrations.held_out
        == (3,)
    )
    assert context.held_out.dataset_repo_id != context.dataset_repo_id
    assert context.held_out.latents_source == context.latents_source
    demonstrations = dataclasses.replace(plan.recipe.demonstrations, held_out=(4,))
    other = dataclasses.replace(
        plan, recipe=dataclasses.replace(plan.recipe, demonstrations=demonstrations)
    )
    assert Context(other, run_dir(tmp_path), None).dataset_repo_id == context.dataset_repo_id
    assert (
        Context(other, run_dir(tmp_path), None).held_out.dataset_repo_id
        != context.held_out.dataset_repo_id
    )


def test_the_suites_share_demonstrations_base_and_latents(tmp_path):
    contexts = [
        Context(resolve_plan(suite, "mini", "cpu"), run_dir(tmp_path), None)
        for suite in ("core", "fusion", "memory")
    ]
    for name in (
        "dataset_repo_id",
        "vlm_folder",
        "base_folder",
        "encoder_name",
        "latents_source",
        "latents_suffix",
    ):
        assert len({getattr(context, name) for context in contexts}) == 1, name
    assert len({context.held_out.dataset_repo_id for context in contexts}) == 1


def test_names_in_the_cache_tell_apart_what_differs(plan, tmp_path):
    context = Context(plan, run_dir(tmp_path), None)
    other = Context(resolve_plan("core", "mini", "cpu"), run_dir(tmp_path), None)
    for name in ("dataset_repo_id", "vlm_folder", "base_folder"):
        assert (getattr(context, name) == getattr(other, name)) == (name == "vlm_folder"), name
    assert context.cache == tmp_path / "cache"
    world = dataclasses.replace(plan.recipe.world, encoder_seed=1)
    reseeded = Context(
        dataclasses.replace(plan, recipe=dataclasses.replace(plan.recipe, world=world)),
        run_dir(tmp_path),
        None,
    )
    assert reseeded.encoder_name != context.encoder_name
    assert reseeded.latents_source != context.latents_source


def test_simulators_are_the_machine_files_number_or_by_cores_and_memory(
    plan, tmp_path, monkeypatch
):
    assert plan.machine.rollout_workers == 0
    monkeypatch.setattr(
        "wmvla.resources.worker_count",
        lambda rows, policy_on_gpu, size: min(rows, 20) - policy_on_gpu,
    )
    assert Context(plan, run_dir(tmp_path), None).simulators(30, policy_on_gpu=True) == 19
    assert Context(plan, run_dir(tmp_path), None).simulators(6, policy_on_gpu=False) == 6
    fixed = dataclasses.replace(plan, machine=dataclasses.replace(plan.machine, rollout_workers=3))
    assert Context(fixed, run_dir(tmp_path), None).simulators(30, policy_on_gpu=True) == 3


def burn(seconds: float) -> None:
    began = time.process_time()
    while time.process_time() - began < seconds:
        pass


@pytest.mark.parametrize("way", ["spawn", "forkserver"])
def test_the_cpu_time_of_processes_that_a_stage_starts_counts(
    plan, played, tmp_path, monkeypatch, way
):
    """Simulators are forked from a server that goes on living."""

    def stage(context: Context, case: Case) -> dict[str, Any]:
        process = get_context(way).Process(target=burn, args=(0.5,))
        process.start()
        process.join()
        return {"artefacts": {}}

    monkeypatch.setitem(module.STAGES, "demonstrations", stage)
    assert Executor(plan, run_dir(tmp_path)).ensure("demonstrations")["cpu_seconds"] >= 0.5


def test_the_energy_of_a_case_is_recorded_where_it_is_told(plan, played, tmp_path, monkeypatch):
    readings = iter([{"GPU 0": 100.0}, {"GPU 0": 350.25}])
    monkeypatch.setattr(
        module, "find_counter", lambda accelerator, devices: Counter("NVML", lambda: next(readings))
    )
    record = Executor(plan, run_dir(tmp_path)).ensure("demonstrations")
    assert (record["joules"], record["joules_of"]) == (250.25, "NVML")


def test_the_image_of_a_case_is_recorded(plan, played, tmp_path, monkeypatch):
    """A run may be continued in another one."""
    monkeypatch.delenv("WMBENCH_IMAGE_DIGEST", raising=False)
    assert Executor(plan, run_dir(tmp_path)).ensure("demonstrations")["image_digest"] is None
    monkeypatch.setenv("WMBENCH_IMAGE_DIGEST", "sha256:" + "a" * 64)
    record = Executor(plan, run_dir(tmp_path)).ensure("base")
    assert record["image_digest"] == "sha256:" + "a" * 64
    monkeypatch.setenv("WMBENCH_IMAGE_DIGEST", "latest")
    with pytest.raises(UserError, match="WMBENCH_IMAGE_DIGEST"):
        Executor(plan, run_dir(tmp_path))


def test_no_energy_is_recorded_where_it_is_not_told_or_not_any_more(
    plan, played, tmp_path, monkeypatch
):
    def absent(accelerator: str, devices: int) -> Counter:
        raise NoReading("a virtual machine")

    monkeypatch.setattr(module, "find_counter", absent)
    assert "joules" not in Executor(plan, run_dir(tmp_path)).ensure("demonstrations")

    def lost() -> dict[str, float]:
        raise RuntimeError("amd-smi gave no answer in 30 s")

    monkeypatch.setattr(
        module, "find_counter", lambda accelerator, devices: Counter("amd-smi", lost)
    )
    assert "joules" not in Executor(plan, run_dir(tmp_path)).ensure("base")


def test_the_parts_of_a_rollout_add_up_where_all_tell():
    part = {"seconds": 1.0, "cpu_seconds": 2.0, "played": 3, "rollout_workers": 2}
    assert _whole([{**part, "joules": 5.5}, {**part, "joules": 6.0}])["joules"] == 11.5
    assert "joules" not in _whole([{**part, "joules": 5.5}, part])
    assert "joules" not in _whole([part, {**part, "joules": 5.5}])
