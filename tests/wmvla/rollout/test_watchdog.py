"""Simulators that raise, die, hang or cannot start: replaced, and no episode lost; or one line that
says why nothing plays."""

import ctypes.util
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
from multiprocessing import Pipe
from pathlib import Path

import psutil
import pytest

from wmvla.errors import UserError
from wmvla.rollout import engine, todo
from wmvla.rollout.simulator import _bound_transfers
from wmvla.rollout.todo import TRIES, Todo
from wmvla.sim import templates

from .fake import FAULTS, MISTAKE, CountingPolicy, plan_faults, play, row, without_clock


@pytest.mark.parametrize("built_once", [True, False])
def test_broken_simulators_are_replaced_and_no_episode_is_lost(tmp_path, built_once):
    rows = [row(index, index) for index in range(9)]
    whole, _ = play(tmp_path, rows)
    plan_faults(tmp_path, {index: [fault] for index, fault in enumerate(FAULTS)})
    records, _ = play(tmp_path, rows, silence=2.0, built_once=built_once)
    assert {i: without_clock(r) for i, r in records.items()} == {
        i: without_clock(r) for i, r in whole.items()
    }


@pytest.mark.parametrize("at", [1, 5, 9, 14])
def test_killing_the_process_with_the_scene_loses_nothing(tmp_path, at):
    rows = [row(index, index % 2) for index in range(12)]
    whole, _ = play(tmp_path, rows)

    class Killing(CountingPolicy):
        def act(self, queries):
            if len(self.queries) in (at, at + 3):
                for template in templates._kept.values():
                    assert template.process.pid is not None
                    os.kill(template.process.pid, signal.SIGKILL)
            return super().act(queries)

    records, _ = play(tmp_path, rows, policy=Killing(4))
    assert {i: without_clock(r) for i, r in records.items()} == {
        i: without_clock(r) for i, r in whole.items()
    }


def test_scenes_that_do_not_fit_together_are_played_one_after_the_other(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "scenes_that_fit", lambda environment, workers: 1)
    together = set()

    class Looking(CountingPolicy):
        def act(self, queries):
            together.add(sum(template.is_alive() for template in templates._kept.values()))
            return super().act(queries)

    rows = [row(index, index % 3) for index in range(9)]
    records, _ = play(tmp_path, rows, workers=3, policy=Looking(4))
    assert sorted(records) == list(range(9))
    assert {record.status for record in records.values()} == {"ok"}
    assert together == {1}


@pytest.mark.parametrize("built_once", [True, False])
@pytest.mark.parametrize("fault", FAULTS)
def test_an_episode_that_never_can_be_played_is_recorded_with_the_reason(
    tmp_path, fault, built_once
):
    plan_faults(tmp_path, {1: [fault] * TRIES})
    records, _ = play(tmp_path, [row(0), row(1, 1), row(2)], silence=1.5, built_once=built_once)
    assert [records[index].status for index in (0, 2)] == ["ok", "ok"]
    assert records[1].status == ("timeout" if fault.startswith("hang") else "error")
    assert records[1].error.startswith(FAULTS[fault])
    assert (records[1].success, records[1].policy_batch, records[1].reset) == (False, 0, None)


def test_a_slow_policy_does_not_make_its_simulators_look_hung(tmp_path, monkeypatch):
    monkeypatch.setattr(todo, "TRIES", 1)

    class SlowPolicy(CountingPolicy):
        def act(self, queries):
            time.sleep(1.5)
            return super().act(queries)

    records, _ = play(
        tmp_path, [row(index) for index in range(3)], max_steps=4, silence=1.0, policy=SlowPolicy(4)
    )
    assert {record.status for record in records.values()} == {"ok"}
    assert len(records) == 3


@pytest.mark.parametrize("rows", [1, 20])
@pytest.mark.parametrize("fault", ["raise at make", "die at make"])
def test_simulators_that_cannot_be_made_end_the_run_in_one_line(tmp_path, fault, rows):
    plan_faults(tmp_path, {0: [fault] * 99})
    with pytest.raises(UserError) as caught:
        play(tmp_path, [row(index) for index in range(rows)])
    # Two simulators; when the last of their tries has failed, the other one may have begun one
    # more.
    assert len((tmp_path / "tries-0").read_text()) <= 2 * TRIES + 1, (
        "it does not take as long as all rows would"
    )
    # Both simulators wait for the one scene, and either may be noticed first.
    where = r" in make of fake task 0, initial state [01]" if fault.startswith("die") else ""
    reason = rf"No simulator can play fake task 0: {re.escape(FAULTS[fault])}{where}\."
    assert re.fullmatch(rf"{reason} Try 'wmbench doctor'\.", str(caught.value))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_task_that_cannot_be_made_does_not_keep_the_others_from_being_played(tmp_path, workers):
    plan_faults(tmp_path, {0: ["raise at make"] * 99})
    records, _ = play(tmp_path, [row(index, index // 3) for index in range(9)], workers=workers)
    assert [records[index].status for index in range(9)] == ["error"] * 3 + ["ok"] * 6


def test_rows_whose_simulation_was_made_are_at_fault_themselves(tmp_path):
    """They may all be, as when a run continues that had played the others."""
    plan_faults(tmp_path, {task: ["raise in reset"] * TRIES for task in range(4)})
    records, _ = play(tmp_path, [row(index, index) for index in range(4)])
    assert [records[index].error for index in range(4)] == [FAULTS["raise in reset"]] * 4


def test_what_only_the_user_can_mend_ends_the_run_at_once(tmp_path):
    plan_faults(tmp_path, {1: [MISTAKE]})
    with pytest.raises(UserError, match=r"^the fake has no such initial state$"):
        play(tmp_path, [row(index, index) for index in range(3)])


def test_rows_that_failed_first_are_recorded_once_a_simulation_was_made():
    recorded = []
    waiting = Todo(
        [row(0), row(1)], 2, lambda row, record: recorded.append((row.index, record.status))
    )
    first = waiting.take(None, ())
    for _ in range(TRIES):
        waiting.failed(first, "error", "no sight")
    assert recorded == []
    waiting.simulation_was_made()
    assert recorded == [(0, "error")]


def test_a_message_that_stops_half_way_is_not_waited_for():
    ours, theirs = Pipe()
    _bound_transfers(ours, 0.2)
    os.write(theirs.fileno(), struct.pack("!i", 1000) + b"only the beginning")
    with pytest.raises(BlockingIOError):
        ours.recv()
    with pytest.raises(BlockingIOError):
        ours.send(bytes(10_000_000))  # nobody reads


HANGING = """
import pathlib, sys
from tests.wmvla.rollout.fake import plan_faults, play, row
folder = pathlib.Path(sys.argv[1])
plan_faults(folder, {0: ["hang in reset"], 1: ["hang in reset"]})
assert not (folder / "tries-0").exists(), "a simulator does not run the script again, which has no guard"
play(folder, [row(0, 0), row(1, 1)], workers=2)
"""


def test_a_killed_engine_leaves_no_simulator_behind(tmp_path):
    """Not even one that hangs, and never again looks at its connection."""
    script = tmp_path / "hanging.py"
    script.write_text(HANGING)
    started = psutil.Popen(
        [sys.executable, script, tmp_path], env={**os.environ, "PYTHONPATH": str(Path.cwd())}
    )
    _until(lambda: all((tmp_path / f"tries-{task}").exists() for task in (0, 1)))
    family = started.children(recursive=True)
    assert len(family) >= 3, "two simulators and what started them"
    started.kill()
    started.wait()
    _until(lambda: not any(_lives(process) for process in family))


def _lives(process):
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


LIBERO = """
from tests.wmvla.rollout.fake import CountingPolicy, row
from wmvla.errors import UserError
from wmvla.recipe import Environment
from wmvla.rollout import engine, todo
from wmvla.rollout.engine import roll_out
from wmvla.rollout.worker import Simulators
from wmvla.sim.suites import can_be_forked, make_simulation
if __name__ == "__main__":
    environment = Environment(suite="libero_object", tasks=(7,), image_size=32, max_steps=8)
    todo.TRIES = 1  # each builds a scene
    simulators = Simulators(environment, 0, (), make_simulation, built_once=can_be_forked())
    try:
        roll_out([row(0, 7)], CountingPolicy(4), simulators, 1, print)
    except UserError as error:
        print(f"error: {error}")
"""


@pytest.mark.parametrize("renderer", ["egl", "osmesa"])
def test_gl_that_fails_at_start_is_one_line(tmp_path, renderer):
    """EGL is asked for a device that no machine has; OSMesa is a library that loads and cannot
    draw."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path.cwd()),
        "MUJOCO_GL": renderer,
        "PYOPENGL_PLATFORM": renderer,
    }
    if renderer == "egl":
        environment["MUJOCO_EGL_DEVICE_ID"] = "99"
    else:
        library = ctypes.util.find_library("OSMesa")
        assert library is not None
        (found,) = {
            file.path
            for file in psutil.Process().memory_maps()
            if "/libc.so" in file.path or "/libc-" in file.path
        }
        shutil.copy(Path(found).parent / "libutil.so.1", tmp_path / library)
        environment["LD_LIBRARY_PATH"] = str(tmp_path)
    script = tmp_path / "play.py"
    script.write_text(LIBERO)
    done = subprocess.run(
        [sys.executable, script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.count("\n") == 1, done.stdout + done.stderr
    assert done.stdout.startswith("error: No simulator can play"), done.stdout
