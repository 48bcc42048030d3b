"""Processes forked from one that prepared something for them: they share its memory, and begin at
once.

    this process --(work, arguments)--> the template --fork--> a process that does the work

The template is asked for work through a socket; each process that it forks has a socket of its own,
by which this one learns its pid and, at the end, its exit code.
"""

import contextlib
import ctypes
import gc
import os
import pickle
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext, SpawnContext
from typing import Any, NoReturn

from wmvla.processes import die_with_parent, one_thread_per_process, without_main
from wmvla.watch.phase import LENGTH, share
from wmvla.watch.stacks import dump_on_request

LARGEST_REQUEST = 2**16
"""Bytes of pickled work and arguments."""


class Template:
    """A process that calls ``prepare(*arguments)`` once and is then forked, with the result as the
    first argument of the work; all three must be found by name in a fresh process.

    ``phase``: shared text, what it is at (``wmvla.watch.phase``); ``start`` until it is alive.

    Non-obvious: it must not have threads when it is forked, for a fork copies none of them.
    """

    def __init__(
        self,
        context: ForkServerContext | SpawnContext,
        prepare: Callable[..., Any],
        arguments: tuple[Any, ...],
    ) -> None:
        self._requests, theirs = _pair()
        self.phase = context.RawArray("c", LENGTH)
        self.phase.value = b"start"
        self.process = context.Process(
            target=_be_template, args=(theirs, prepare, arguments, self.phase), daemon=True
        )
        with one_thread_per_process(), without_main(prepare):
            self.process.start()
        theirs.close()
        self._forks: list[Fork] = []

    def fork(
        self, work: Callable[..., Any], arguments: tuple[Any, ...], descriptors: Sequence[int] = ()
    ) -> "Fork":
        """A process that calls ``work(prepared, *arguments, *descriptors)``, where the open files
        are copies of these, as soon as the template is prepared. What ``work`` returns is the exit
        code, None for 0."""
        status, theirs = _pair()
        request = pickle.dumps((work, arguments))
        assert len(request) <= LARGEST_REQUEST, f"{len(request)} bytes of arguments"
        # That the template is dead, whoever waits for the fork notices.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            socket.send_fds(self._requests, [request], [theirs.fileno(), *descriptors])
        theirs.close()
        fork = Fork(status, self)
        self._forks = [fork, *(other for other in self._forks if other.exitcode is None)]
        return fork

    def is_idle(self) -> bool:
        """Whether no process that was forked from it lives or is to come."""
        return all(fork.exitcode is not None for fork in self._forks)

    def is_alive(self) -> bool:
        return self.process.is_alive()

    def retire(self) -> None:
        """Let it end when all that was asked of it is done."""
        self._requests.close()

    def kill(self) -> None:
        """End it now; what was forked from it goes on."""
        self._requests.close()
        self.process.kill()
        self.process.join()


class Fork:
    """A process that was forked from a template, with the methods that
    ``multiprocessing.Process`` and ``subprocess.Popen`` have; ``pid`` is None until the template
    has forked it."""

    def __init__(self, status: socket.socket, template: Template) -> None:
        self.template = template
        self._status = status
        self._pid: int | None = None
        self._handle: int | None = None
        self._code: int | None = None
        self._orphaned = False

    @property
    def pid(self) -> int | None:
        self._hear()
        return self._pid

    @property
    def exitcode(self) -> int | None:
        """None while it lives; minus the signal's number that ended it. What the template was ended
        by, if that could not fork it or saw no end of it."""
        self._hear()
        return self._code

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended, ``timeout`` seconds at most."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.exitcode is None:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return
            wait([self._handle if self._orphaned and self._handle else self._status], left)

    def wait_for_pid(self, timeout: float | None = None) -> bool:
        """Wait until it is forked, or cannot be any more; False after ``timeout`` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.pid is None and self.exitcode is None:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return False
            wait([self._status], left)
        return True

    def poll(self) -> int | None:
        return self.exitcode

    def wait(self) -> int:
        self.join()
        assert self.exitcode is not None
        return self.exitcode

    @property
    def returncode(self) -> int | None:
        return self.exitcode

    def kill(self) -> None:
        """End it; one that is not forked yet never begins."""
        self._hear()
        if self._code is None and self._handle is not None:
            _kill(self._handle)
        elif self._code is None:
            self._end(-signal.SIGKILL)

    def _hear(self) -> None:
        while self._code is None and wait([self._status], 0):
            message, descriptors, _, _ = socket.recv_fds(self._status, 64, 1)
            kind, _, number = message.partition(b" ")
            if kind == b"pid":
                self._pid, (self._handle,) = int(number), descriptors
            elif kind == b"exit":
                self._end(int(number))
            else:
                self._orphaned = True
                if self._handle is not None and not wait([self._handle], 0):
                    return
                self.template.process.join(5)
                self._end(self.template.process.exitcode or 1)

    def _end(self, code: int) -> None:
        self._code = code
        self._status.close()
        if self._handle is not None:
            os.close(self._handle)


def _pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def _kill(handle: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(handle, signal.SIGKILL)


def _be_template(
    requests: socket.socket, prepare: Callable[..., Any], arguments: tuple[Any, ...], phase: Any
) -> None:
    """Prepare, and fork whatever is asked for, until nobody can ask any more and all have ended."""
    die_with_parent()
    # A terminal's Ctrl-C is for the process that asks.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    dump_on_request()
    phase.value = b""
    share(phase)
    prepared = prepare(*arguments)
    _give_memory_back()
    living: dict[int, tuple[int, socket.socket]] = {}
    listening = True
    while listening or living:
        for ready in wait([*([requests] if listening else []), *living]):
            if isinstance(ready, int):
                pid, status = living.pop(ready)
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                _say(status, b"exit %d" % code)
                status.close()
                os.close(ready)
                continue
            request, descriptors, _, _ = socket.recv_fds(requests, LARGEST_REQUEST, 8)
            if not request:
                listening = False
                continue
            status = socket.socket(fileno=descriptors.pop(0))
            pid = os.fork()
            if pid == 0:
                for other in (requests, status, *(socket for _, socket in living.values())):
                    other.close()
                for handle in living:
                    os.close(handle)
                _do(request, prepared, descriptors)
            for descriptor in descriptors:
                os.close(descriptor)
            handle = os.pidfd_open(pid)
            if not _say(status, b"pid %d" % pid, handle):  # nobody waits for it
                _kill(handle)
            living[handle] = pid, status


def _do(request: bytes, prepared: Any, descriptors: Sequence[int]) -> NoReturn:
    """Do the work in a process that was forked for it, and end that without taking apart what it
    shares with others."""
    code = 1
    try:
        work, arguments = pickle.loads(request)
        code = work(prepared, *arguments, *descriptors) or 0
    except SystemExit as leaving:
        if isinstance(leaving.code, str):
            print(leaving.code, file=sys.stderr)
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)


def _say(status: socket.socket, message: bytes, *descriptors: int) -> bool:
    """Whether the one that asked is there to hear it."""
    try:
        socket.send_fds(status, [message], descriptors)
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True


def _give_memory_back() -> None:
    """Return what was freed to the system, and keep the rest from being written to by the garbage
    collector, which would copy it in every process."""
    gc.collect()
    gc.freeze()
    ctypes.CDLL(None).malloc_trim(0)
