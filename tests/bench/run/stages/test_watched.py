"""Children that hang: found by their silence, ended with whatever ends their parent, and never left
behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from bench.run.stages import prepared, watched
from bench.run.stages.watched import latest_attempt, log_of_attempt, running, wait_while_alive
from wmvla.watch import children
from wmvla.watch.children import stop
from wmvla.watch.life import Sign, life_path, write_sign

ROOT = Path(__file__).parents[4]
BOUND = 30.0
"""Seconds within which a hung child is gone."""

RANK = """
import ctypes, signal, sys, time
from pathlib import Path
from wmvla.watch.guardian import guard
from wmvla.watch.life import Sign, life_path, write_sign
from wmvla.watch.stacks import dump_on_request
job = Path(sys.argv[1])
guard(life_path(job))
dump_on_request()
signal.signal(signal.SIGTERM, lambda number, frame: None)
write_sign(life_path(job), Sign("step 7"))
print("rank is ready", flush=True)
"""
SLEEPS = RANK + "while True: time.sleep(600)"
STUCK_IN_C = RANK + "while True: ctypes.PyDLL(None).sleep(600)"
LAUNCHER = f"""
import subprocess, sys
ranks = [
    subprocess.Popen([sys.executable, "-c", {SLEEPS!r}, sys.argv[1]], start_new_session=True)
    for _ in range(2)
]
for rank in ranks:
    rank.wait()
"""
"""Stands for torchrun: it starts two ranks, each in a session of its own."""
GLOO = (
    RANK
    + """
import torch
torch.distributed.init_process_group("gloo")
print("ranks have met", flush=True)
if torch.distributed.get_rank():
    time.sleep(600)
torch.distributed.barrier()
"""
)
PARENT = """
import sys
from pathlib import Path
from bench.run.sigterm import interrupt_on_sigterm
from bench.run.stages.watched import log_of_attempt, running, wait_while_alive
interrupt_on_sigterm()
job, log, *command = sys.argv[1:]
job, log = Path(job), Path(log)
with log_of_attempt(log) as output, running([*command, str(job)], job, output) as child:
    for _ in wait_while_alive(child, "E2-train-s0", job, log):
        pass
"""
FORKING = PARENT.replace(
    "running([*command, str(job)], job, output)",
    'prepared.forked("stuck_rank", job, output, ranks=2)',
).replace(
    "interrupt_on_sigterm()\n",
    "from bench.run.stages import prepared\nprepared.import_all = int\ninterrupt_on_sigterm()\n",
)
"""The same, whose child is forked, and forks two ranks; what it is forked from imports nothing."""


def begin(folder: Path, *command: str) -> subprocess.Popen[bytes]:
    """A parent with a child; both have the folder on their command line, or print to a log there.
    Without a command its child is forked."""
    folder.mkdir()
    (folder / "stuck_rank.py").write_text(STUCK_IN_C)
    program = PARENT if command else FORKING
    parts = [sys.executable, "-c", program, str(folder / "job.json"), str(folder / "log")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)])}
    return subprocess.Popen(
        [*parts, *command], env=environment, stderr=subprocess.DEVNULL, start_new_session=True
    )


def left(folder: Path) -> list[str]:
    """Command lines of the processes that still work for a folder, or print into it."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = " ".join(process.info["cmdline"] or [])
        try:
            prints_to = str(Path(f"/proc/{process.pid}/fd/1").readlink())
        except OSError:
            prints_to = ""
        works = f"{folder}/" in line or f"{folder}/" in prints_to
        if works and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(line[:100])
    return found


def wait_until(condition, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def end_of(parent: subprocess.Popen[bytes], way: str) -> None:
    if way == "group":
        os.killpg(parent.pid, signal.SIGKILL)
    else:
        parent.send_signal(getattr(signal, way))


def test_whatever_ends_the_parent_ends_a_hung_child(tmp_path: Path) -> None:
    """All at once, because each takes as long as a child is given to end in order."""
    programs = {"sleeps": (SLEEPS, 1), "stuck": (STUCK_IN_C, 1), "launcher": (LAUNCHER, 2)}
    begun = {}
    for name, (program, ranks) in programs.items():
        for way in ("SIGINT", "SIGTERM", "SIGKILL"):
            folder = tmp_path / f"{name}-{way}"
            begun[folder, way, ranks] = begin(folder, sys.executable, "-c", program)
    for way in ("SIGINT", "SIGTERM", "SIGKILL"):
        folder = tmp_path / f"forked-{way}"
        begun[folder, way, 2] = begin(folder)
    try:
        for folder, _, ranks in begun:
            log = folder / "log"
            wait_until(lambda: log.exists() and log.read_text().count("ready") == ranks, 120)  # noqa: B023
            assert len(left(folder)) >= ranks, "or none would be missed afterwards"
        for (_, way, _), parent in begun.items():
            end_of(parent, way)
        deadline = time.monotonic() + BOUND
        while (rest := left(tmp_path)) and time.monotonic() < deadline:
            time.sleep(0.5)
        assert not rest
        for folder, _, ranks in begun:
            text = (folder / "log").read_text()
            assert text.count("most recent call first") >= ranks, f"{folder.name}: {text}"
    finally:
        for parent in begun.values():
            parent.kill()
            parent.wait()


@pytest.mark.slow
def test_two_ranks_in_a_barrier_end_with_their_killed_run(tmp_path: Path) -> None:
    """kill -9 of the whole process group of the parent; what it started is in other groups."""
    script = tmp_path / "rank.py"
    script.write_text(GLOO)
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    parent = begin(tmp_path / "run", sys.executable, *torchrun, str(script))
    log = tmp_path / "run" / "log"
    wait_until(lambda: log.exists() and log.read_text().count("have met") == 2, 180)
    end_of(parent, "group")
    parent.wait()
    wait_until(lambda: not left(tmp_path), BOUND)
    assert log.read_text().count("most recent call first") >= 2
    assert "in barrier" in log.read_text()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(watched, "SILENCE", 3.0)
    monkeypatch.setattr(watched, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(children, "GRACE", 0.5)


def play(folder: Path, program: str) -> int:
    job, log = folder / "job.json", folder / "log"
    command = [sys.executable, "-c", program, str(job)]
    with log_of_attempt(log) as output, running(command, job, output) as child:
        for _ in wait_while_alive(child, "E2-train-s0", job, log):
            pass
    return child.returncode


def test_a_silent_child_is_killed_and_its_step_and_log_are_named(
    tmp_path: Path, quick: None
) -> None:
    with pytest.raises(RuntimeError) as told:
        play(tmp_path, STUCK_IN_C)
    assert (
        str(told.value) == "E2-train-s0 hung: no sign of life for 0 min after step 7; the stacks of"
        f" its processes are in {tmp_path / 'log'}"
    )
    assert "most recent call first" in latest_attempt(tmp_path / "log")
    assert not left(tmp_path)


def test_a_child_whose_libraries_hang_when_they_are_imported_is_named(
    tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepared, "_kept", [])
    monkeypatch.setattr(prepared, "import_all", signal.pause)
    with (
        (tmp_path / "log").open("a") as output,
        pytest.raises(RuntimeError, match=r"^stuck could not start: importing its libraries has"),
        prepared.forked("stuck", tmp_path / "job.json", output),
    ):
        pass
    assert prepared._kept == []


def test_a_slow_child_that_gives_signs_is_left_alone(tmp_path: Path, quick: None) -> None:
    slow = "for step in range(5):\n    time.sleep(1)\n    write_sign(life_path(job), Sign(str(step)))\n"
    assert play(tmp_path, RANK + slow) == 0


@pytest.mark.parametrize("patience", [0.0, 60.0])
def test_a_child_that_is_asked_to_end_may_finish_what_it_says_takes_long(
    tmp_path: Path, quick: None, patience: float
) -> None:
    """It is writing a checkpoint; one that says nothing of the kind hangs."""
    job, saved = tmp_path / "job.json", tmp_path / "saved"
    write_sign(life_path(job), Sign("writing the checkpoint of step 7", patience))
    program = RANK.replace('write_sign(life_path(job), Sign("step 7"))', "") + (
        f"signal.pause()\ntime.sleep(3)\nPath({str(saved)!r}).touch()\n"
    )
    log = tmp_path / "log"
    with (
        log.open("a") as output,
        running([sys.executable, "-c", program, str(job)], job, output) as child,
    ):
        wait_until(lambda: "ready" in log.read_text(), 60)
        stop(child, life_path(job))
    assert saved.exists() == bool(patience)


def test_a_new_attempt_goes_to_the_end_of_the_log(tmp_path: Path, quick: None) -> None:
    for said in ("first", "second"):
        play(tmp_path, f"print({said!r})")
    text = (tmp_path / "log").read_text()
    assert text.index("first") < text.index("second")
    assert text.count(watched.BEGINS) == 2
    assert "first" not in latest_attempt(tmp_path / "log")
