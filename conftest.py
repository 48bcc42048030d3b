"""pytest runs the code of the checkout that it was started in, or nothing."""

import sys

import pytest

from wmvla.checkout import require_own_code
from wmvla.errors import UserError


@pytest.hookimpl(tryfirst=True)  # before a plan is made and its run directory is locked
def pytest_configure() -> None:
    try:
        require_own_code(sys.argv[0])
    except UserError as error:
        pytest.exit(f"error: {error}", returncode=2)
