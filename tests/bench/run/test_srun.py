"""Which processes of srun train together, and what those behind rank 0 say of it."""

import dataclasses
import os
import signal
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pytest
from synthetic_run import core_plan, write_run

from bench.commands.options import cases_from, shard_from
from bench.plan.document import Plan
from bench.plan.machine import load_machine
from bench.run.executor import Executor
from bench.run.srun import are_shared, joins, refuse_several_nodes
from bench.run.stages import training, watched
from wmvla.errors import UserError
from wmvla.rollout.shard import Shard
from wmvla.train.parallel.preemption import STOPPED
from wmvla.watch import children

CASE = "E2-train-s0"


@pytest.fixture
def plan() -> Plan:
    return dataclasses.replace(core_plan("smoke"), machine=load_machine("mi300x-8-x2"))


@pytest.fixture
def srun(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Become one of several tasks of a job step."""
    for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)

    def become(rank: int, ranks: int) -> None:
        monkeypatch.setenv("SLURM_PROCID", str(rank))
        monkeypatch.setenv("SLURM_STEP_NUM_TASKS", str(ranks))

    return become


def test_tasks_of_srun_share_a_training_that_is_named_and_else_split_rollouts(
    plan: Plan, srun: Callable[..., None]
) -> None:
    def shard_of(*cases: str) -> Shard | None:
        return shard_from(Namespace(shard=None, cases=list(cases), sequential=None), plan)

    assert not are_shared(plan, [CASE])
    srun(3, 16)
    assert are_shared(plan, [CASE])
    assert joins(plan, [CASE])
    assert shard_of(CASE) is None
    assert cases_from(plan, Namespace(shard=None, cases=[CASE], sequential=None)) == (CASE,)
    for rollouts in ((), ("E2-pred-s0",)):
        assert not joins(plan, rollouts)
        assert shard_of(*rollouts) == Shard(4, 16)
    with pytest.raises(
        UserError,
        match=r"--case=\S+: only rollouts can be split into shards, and this is shard 4/16",
    ):
        cases_from(plan, Namespace(shard=None, cases=[CASE, "E0-train-s0"], sequential=None))
    srun(0, 16)
    assert not joins(plan, [CASE]), "rank 0 carries the case out"


def test_another_number_of_tasks_is_refused(plan: Plan, srun: Callable[..., None]) -> None:
    srun(1, 8)
    with pytest.raises(
        UserError,
        match=(
            "srun started 8 processes, but machine 'mi300x-8-x2' trains with 16; give srun"
            " --nodes=2 "
        ),
    ):
        joins(plan, [CASE])


@pytest.mark.parametrize(("ending", "code"), [("0", 0), (str(STOPPED), 0), ("2", 1)])
def test_what_a_process_behind_rank_0_says(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, code: int
) -> None:
    """Also the one that was stopped in order says that nothing is wrong: else srun would cut short
    rank 0, who tells of all."""
    run_dir = write_run(tmp_path / plan.run_name, plan, {})
    assert Executor(plan, run_dir).join(CASE) == 0, "it is done"
    (run_dir / "cases" / f"{CASE}.json").unlink()
    asked = []

    def start(command: list[str], *_: object) -> subprocess.Popen[bytes]:
        asked.append(command)
        return subprocess.Popen([sys.executable, "-c", f"raise SystemExit({ending})"])

    monkeypatch.setattr(watched, "start", start)
    assert Executor(plan, run_dir).join(CASE) == code
    assert asked == [
        [sys.executable, "-m", "wmvla.train.main", str(run_dir / "jobs" / f"{CASE}.json")]
    ]


@pytest.mark.parametrize(("how", "code"), [("stopped", 143), ("hung", 143), ("died", 1)])
def test_a_process_that_ends_by_a_signal(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, code: int
) -> None:
    run_dir = write_run(tmp_path / plan.run_name, plan, {})
    (run_dir / "cases" / f"{CASE}.json").unlink()
    stopped = f"import os, signal; os.kill({os.getpid()}, signal.SIGTERM); signal.pause()"
    programs = {
        "stopped": stopped,
        "hung": f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {stopped}",
        "died": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    }
    monkeypatch.setattr(
        watched, "start", lambda *_: subprocess.Popen([sys.executable, "-c", programs[how]])
    )
    monkeypatch.setattr(children, "GRACE", 1.0)
    before = signal.getsignal(signal.SIGTERM)
    assert Executor(plan, run_dir).join(CASE) == code
    assert signal.getsignal(signal.SIGTERM) is before


def test_several_nodes_need_slurm(plan: Plan, tmp_path: Path, srun: Callable[..., None]) -> None:
    run_dir = write_run(tmp_path / plan.run_name, plan, {})
    every = [case.id for case in plan.cases]
    is_done = Executor(plan, run_dir).is_done
    refuse_several_nodes(plan, every, is_done)
    (run_dir / "cases" / f"{CASE}.json").unlink()
    refuse_several_nodes(plan, ["E0-none-s0"], is_done)
    for cases in (every, [CASE]):
        with pytest.raises(
            UserError,
            match="trains on 2 nodes, whose processes Slurm starts; give wmbench submit instead",
        ):
            refuse_several_nodes(plan, cases, is_done)
    with pytest.raises(UserError, match="trains on 2 nodes"):
        training._launcher(plan.machine)
    one_node = dataclasses.replace(plan, machine=load_machine("mi300x-8"))
    refuse_several_nodes(one_node, every, is_done)
    assert training._launcher(one_node.machine)[:2] == ["-m", "torch.distributed.run"]
    srun(0, 16)
    refuse_several_nodes(plan, [CASE], is_done)
    assert training._launcher(plan.machine) == []
