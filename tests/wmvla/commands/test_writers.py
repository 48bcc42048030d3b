"""No writer leaves half a file, or says more than a line, where the disk is full, broken, or takes
less than it was given."""

from pathlib import Path

import pytest

from tests.failing_disk import passes_on_a_failing_disk


@pytest.mark.slow  # 2 minutes
def test_every_writer_meets_every_fault(tmp_path: Path) -> None:
    passes_on_a_failing_disk(Path(__file__).with_name("writers.py"), tmp_path)
