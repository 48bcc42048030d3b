"""Programs of the vendors, called through one function, so that a test can play any machine."""

import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

Call = Callable[[Sequence[str]], str | None]
"""Calls a program: what it prints, None if there is none. RuntimeError: its last line."""
ROOT = Path("/")


def call(command: Sequence[str]) -> str | None:
    """Run a vendor's tool here, for at most 30 s."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{command[0]} gave no answer in 30 s") from None
    if done.returncode != 0:
        said = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        raise RuntimeError((said or [f"{command[0]} exited with {done.returncode}"])[-1].strip())
    return done.stdout
