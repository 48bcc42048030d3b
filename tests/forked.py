"""A module run as ``python -m`` runs it, in a fork of the tests' process.

A new interpreter spends 8 CPU seconds on importing torch and LeRobot; a fork has them. What only a
new interpreter can show (the command line, what is found without an import) is shown by
``test_end_to_end.py`` and by the tests that start one.
"""

import ctypes
import os
import runpy
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

from accelerate.state import AcceleratorState, GradientState

PR_SET_PDEATHSIG = 1


def run_module(module: str, *arguments: str) -> Callable[[], object]:
    """What a child does: the module as the program."""

    def run() -> None:
        sys.argv[:] = [module, *arguments]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # it is imported already
            runpy.run_module(module, run_name="__main__", alter_sys=True)

    return run


def run_ranks(ranks: int, port: str, run: Callable[[], object]) -> Callable[[], object]:
    """What a child does: start the processes of one training, as torchrun does, and wait."""

    def launch() -> None:
        meeting = {
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
            "WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks),
        }  # fmt: skip
        children = [
            Forked(run, {**meeting, "RANK": str(rank), "LOCAL_RANK": str(rank)})
            for rank in range(ranks)
        ]
        ended = [child.communicate() for child in children]
        sys.stdout.write("".join(out for out, _ in ended))
        sys.stderr.write("".join(err for _, err in ended))
        sys.exit(max(child.returncode != 0 for child in children))

    return launch


class Forked:
    """A child that runs `run` and ends, with the parts of ``subprocess.Popen`` that tests use."""

    def __init__(self, run: Callable[[], object], environment: Mapping[str, str] = {}) -> None:
        self.returncode: int | None = None
        self._folder = tempfile.TemporaryDirectory()
        self._files = [Path(self._folder.name) / name for name in ("out", "err")]
        sys.stdout.flush()
        sys.stderr.flush()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads
            self.pid = os.fork()
        if self.pid == 0:
            _carry_out(run, environment, self._files)

    def poll(self) -> int | None:
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # somebody else has waited for it, after killing it
                self.returncode = -signal.SIGKILL
            else:
                self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def communicate(self, timeout: float = 300) -> tuple[str, str]:
        """Standard output and error of the whole of it; it is killed after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.01)
        out, err = (file.read_text() if file.exists() else "" for file in self._files)
        self._folder.cleanup()
        return out, err


def _carry_out(
    run: Callable[[], object], environment: Mapping[str, str], files: list[Path]
) -> NoReturn:
    """In the child: be as new as a fork can be, and never return to the tests."""
    code = 1
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # no test leaves it behind
        for number, file in enumerate(files, start=1):
            os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
        # closefd: what they replace may be of a fork above, and closes its number as it goes.
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        os.environ.update(environment)
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
        run()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
