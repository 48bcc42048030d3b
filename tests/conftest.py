"""What holds for all tests."""

import os


def pytest_sessionstart() -> None:
    """A pytest that a test starts is nobody's worker: pytest-benchmark measures nothing in one."""
    os.environ.pop("PYTEST_XDIST_WORKER", None)
