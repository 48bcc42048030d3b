"""Which jobs a plan is: every case once, after what it needs, and the report after all."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_run import core_plan, plan_of

from bench.plan.document import Plan
from bench.plan.machine import Machine, load_machine
from bench.run.slurm.jobs import Job, make_jobs


def by_name(jobs: tuple[Job, ...]) -> dict[str, Job]:
    assert len({job.name for job in jobs}) == len(jobs)
    return {job.name: job for job in jobs}


def test_one_job_for_each_case(plan: Plan) -> None:
    *jobs, report = make_jobs(plan, done=())
    assert [(job.name, job.cases, job.after) for job in jobs] == [
        (case.id, (case.id,), case.needs) for case in plan.cases
    ]
    assert not any(job.whatever or job.shards > 1 or job.gpus or job.nodes > 1 for job in jobs)
    trained = {case.id for case in plan.cases if case.kind in ("base", "train")}
    assert {job.name: job.ranks for job in jobs} == {
        case.id: 2 if case.id in trained else 1 for case in plan.cases
    }
    assert report == Job("report", after=tuple(case.id for case in plan.cases), whatever=True)


def test_a_split_rollout_is_an_array_and_its_completion(plan: Plan) -> None:
    jobs = by_name(make_jobs(plan, done=(), shards=3))
    assert jobs["E2-pred-s0.shards"] == Job(
        "E2-pred-s0.shards", ("E2-pred-s0",), ("E2-train-s0",), shards=3
    )
    assert jobs["E2-pred-s0"] == Job("E2-pred-s0", ("E2-pred-s0",), ("E2-pred-s0.shards",))
    assert {"E2-pred-s0.shards", "E2-pred-s0"} < set(jobs["report"].after)


def test_rollouts_of_a_sequential_plan_are_one_job() -> None:
    plan = core_plan("mini", sequential="pocock")
    jobs = by_name(make_jobs(plan, done=("E0-train-s0",)))
    rollouts = tuple(case.id for case in plan.rollout_cases())
    assert not set(rollouts) & set(jobs)
    assert jobs["rollouts"] == Job(
        "rollouts", rollouts, ("E1-train-s0", "E2-train-s0"), whatever=True
    )
    assert "rollouts" not in by_name(make_jobs(plan, done=[case.id for case in plan.cases]))


@pytest.mark.parametrize(("processes", "training"), [(1, 1), (8, 8)])
def test_gpus(processes: int, training: int) -> None:
    machine = Machine("h100-8", "cuda", processes, 0, "bf16", "mini")
    plan = dataclasses.replace(core_plan("smoke"), machine=machine)
    jobs = by_name(make_jobs(plan, done=()))
    assert {jobs[name].gpus for name in ("base", "E0-train-s0")} == {training}
    assert {
        jobs[name].gpus for name in ("demonstrations", "latents", "wiring-gate", "E2-pred-s0")
    } == {1}
    assert jobs["report"].gpus == 0


def test_nodes() -> None:
    plan = dataclasses.replace(core_plan("smoke"), machine=load_machine("mi300x-8-x2"))
    jobs = by_name(make_jobs(plan, done=()))
    for name in ("base", "E0-train-s0"):
        assert (jobs[name].nodes, jobs[name].ranks, jobs[name].gpus) == (2, 16, 8)
    for name in ("demonstrations", "E2-pred-s0"):
        assert (jobs[name].nodes, jobs[name].ranks, jobs[name].gpus) == (1, 1, 1)


def test_a_base_policy_from_the_hub_is_trained_by_nobody() -> None:
    plan = dataclasses.replace(core_plan("full"), machine=load_machine("mi300x-8-x2"))
    jobs = by_name(make_jobs(plan, done=()))
    assert (jobs["base"].nodes, jobs["base"].ranks, jobs["base"].gpus) == (1, 1, 1)
    assert jobs["E0-train-s0"].ranks == 16


@given(
    data=st.data(), shards=st.integers(1, 4), suite=st.sampled_from(["core", "fusion", "memory"])
)
def test_jobs_come_after_what_they_wait_for_and_do_what_is_left(
    data: st.DataObject, shards: int, suite: str
) -> None:
    plan = plan_of(suite, "smoke", seeds=(0, 1))
    done = data.draw(st.sets(st.sampled_from([case.id for case in plan.cases])))
    jobs = make_jobs(plan, done, shards)
    seen: set[str] = set()
    for job in jobs:
        assert set(job.after) <= seen
        seen.add(job.name)
    assert {case for job in jobs for case in job.cases} == {case.id for case in plan.cases} - done
    for case in plan.cases:
        if case.id not in done:  # what it needs was done before, or is done by a job before it
            first = next(job for job in jobs if case.id in job.cases)
            assert set(first.after) | done >= set(case.needs)
