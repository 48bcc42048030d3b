"""Commands that are killed in their middle, twice (`kill_twice`)."""

import random
import shutil
from pathlib import Path

import pytest
from kill_twice import COMMANDS, kill_twice

NEEDED = {"pull": "rsync", "pack, zstd": "zstd"}


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_was_killed_twice_ends_as_if_it_never_was(name: str, tmp_path: Path) -> None:
    if (program := NEEDED.get(name)) and shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    good, hits, wrong = kill_twice(name, 5, random.Random(name), tmp_path)
    assert not wrong
    assert good == 5
    assert hits > 0
