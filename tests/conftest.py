"""What holds for all tests."""

import os
import signal
from collections.abc import Generator

import pytest
from xdist.scheduler import LoadFileScheduling

NEEDED_IN_CI = ("chromium", "gcc", "rsync", "sshd", "zstd")
"""Programs without which tests are skipped; `.ci/run` installs them."""

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As in a job that a script has put into the background; children, too, would hear no Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)

SCENES = "tests/wmvla/sim/"
"""Tests below share real LIBERO scenes, 6 CPU seconds each to build: one worker gets them all."""


class FilesAndScenes(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    """A file is handed out as a whole, and so is what shares the scenes."""

    def _split_scope(self, nodeid: str) -> str:
        return SCENES if nodeid.startswith(SCENES) else str(super()._split_scope(nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadFileScheduling | None:
    return FilesAndScenes(config, log) if config.option.dist == "loadfile" else None


def pytest_sessionstart() -> None:
    """A pytest that a test starts is nobody's worker: pytest-benchmark measures nothing in one."""
    os.environ.pop("PYTEST_XDIST_WORKER", None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a test that is skipped for a missing program fails: nobody reads which were skipped."""
    report = yield
    if os.environ.get("CI") and report.skipped and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if any(program in reason for program in NEEDED_IN_CI):
            report.outcome = "failed"
            report.longrepr = f"CI must have what this test needs: {reason}"
    return report
