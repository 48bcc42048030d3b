"""Processes forked from a prepared one: what they give back, and what becomes of them when either
side is killed."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection, Pipe

import psutil
import pytest

from wmvla.forks import Fork, Template


def prepare(number: int) -> list[int]:
    return [number] * 10_000_000


def die(number: int) -> None:
    os._exit(number)


def sleep(number: int) -> None:
    time.sleep(600)


def work(prepared: list[int], what: str, descriptor: int) -> int | None:
    connection = Connection(descriptor)
    if what == "report":
        connection.send((os.getpid(), prepared[0], len(prepared)))
    if what == "raise":
        raise ValueError("no such thing")
    if what == "leave":
        sys.exit("error: a sentence")
    if what == "wait":
        connection.send(os.getpid())
        connection.recv()
    return 7 if what == "seven" else None


@pytest.fixture
def template() -> Iterator[Template]:
    made = Template(get_context("forkserver"), prepare, (5,))
    yield made
    made.kill()


def start(template: Template, what: str) -> tuple[Fork, Connection]:
    ours, theirs = Pipe()
    fork = template.fork(work, (what,), [theirs.fileno()])
    theirs.close()
    return fork, ours


def lives(pid: int) -> bool:
    """Whether it goes on; one that nobody waits for stays as a zombie."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_each_has_what_was_prepared_and_a_process_of_its_own(template: Template) -> None:
    forks = [start(template, "report") for _ in range(3)]
    reports = [connection.recv() for _, connection in forks]
    assert {report[1:] for report in reports} == {(5, 10_000_000)}
    assert len({report[0] for report in reports} | {os.getpid(), template.process.pid}) == 5
    for (fork, _), report in zip(forks, reports, strict=True):
        fork.join(20)
        assert (fork.pid, fork.exitcode) == (report[0], 0)
    assert template.is_idle()


@pytest.mark.parametrize(
    ("what", "code", "said"),
    [
        ("seven", 7, ""),
        ("raise", 1, "ValueError: no such thing"),
        ("leave", 1, "error: a sentence"),
    ],
)
def test_how_the_work_ended_is_known(
    what: str, code: int, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    made = Template(get_context("spawn"), prepare, (5,))  # prints where this test does
    fork, _ = start(made, what)
    assert fork.wait() == code
    made.kill()
    assert said in capfd.readouterr().err


def test_one_is_killed_and_the_others_go_on(template: Template) -> None:
    (one, first), (other, second) = start(template, "wait"), start(template, "wait")
    pids = first.recv(), second.recv()
    one.wait_for_pid()
    other.wait_for_pid()
    assert (one.pid, other.pid) == pids
    one.kill()
    one.join(20)
    assert (one.exitcode, other.exitcode) == (-signal.SIGKILL, None)
    assert not template.is_idle()
    second.send("go on")
    assert other.wait() == 0


def test_a_killed_template_takes_none_of_its_forks_with_it(template: Template) -> None:
    fork, connection = start(template, "wait")
    pid = connection.recv()
    fork.wait_for_pid()
    template.process.kill()
    template.process.join()
    waiting, nobody = start(template, "report")
    with pytest.raises(EOFError):
        nobody.recv()
    assert waiting.wait() == -signal.SIGKILL
    assert psutil.pid_exists(pid)
    assert fork.exitcode is None
    connection.send("go on")
    fork.join(20)
    assert fork.exitcode is not None
    assert not lives(pid)


def test_a_killed_fork_of_a_killed_template_is_gone(template: Template) -> None:
    fork, connection = start(template, "wait")
    pid = connection.recv()
    fork.wait_for_pid()
    template.kill()
    fork.kill()
    fork.join(20)
    assert fork.exitcode is not None
    assert not lives(pid)


@pytest.mark.parametrize("waits", [False, True])
def test_one_that_cannot_be_prepared_is_an_end_with_its_code(waits: bool) -> None:
    made = Template(get_context("forkserver"), die, (11,))
    if waits:
        made.process.join()
    fork, connection = start(made, "report")
    with pytest.raises(EOFError):
        connection.recv()
    assert (fork.pid, fork.wait()) == (None, 11)


def test_one_that_nobody_waits_for_never_begins() -> None:
    made = Template(get_context("forkserver"), sleep, (0,))
    fork, _ = start(made, "report")
    fork.kill()
    assert fork.wait() == -signal.SIGKILL
    made.kill()
    assert not made.is_alive()


def test_a_retired_template_does_what_was_asked_and_ends(template: Template) -> None:
    fork, connection = start(template, "wait")
    template.retire()
    connection.recv()
    assert template.is_alive()
    connection.send("go on")
    assert fork.wait() == 0
    template.process.join(20)
    assert not template.is_alive()


def test_what_was_prepared_is_shared(template: Template) -> None:
    fork, connection = start(template, "wait")
    process = psutil.Process(connection.recv())
    own, all_of_it = process.memory_full_info().uss, process.memory_info().rss
    assert all_of_it > 80_000_000
    assert own < all_of_it / 3
    fork.kill()
    fork.join()
