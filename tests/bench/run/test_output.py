"""What a case prints stands in its log, and progress in the terminal."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench.run.output import printed_to, terminal

PRINTS = """
import os, subprocess, sys
from pathlib import Path
from bench.run.output import printed_to, terminal

stream = sys.stderr  # as a logger keeps it
with terminal() as show:
    for attempt in ("first", "second"):
        with printed_to(Path(sys.argv[1])):
            print(f"{attempt} attempt", file=stream)
            print("a warning")
            subprocess.run(["sh", "-c", "echo a process; echo its trouble >&2"], check=True)
            os.write(2, b"from C\\n")
            show("  base                0/2     starting")
        print("afterwards", flush=True)
"""


def test_all_that_is_printed_goes_into_the_log_and_what_is_shown_does_not(tmp_path: Path) -> None:
    """By Python, by another process, and by what writes to the descriptor itself."""
    log = tmp_path / "logs" / "base.log"
    done = subprocess.run(
        [sys.executable, "-c", PRINTS, str(log)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "  base                0/2     starting\nafterwards\n" * 2
    assert done.stderr == ""
    attempt = ["first attempt", "a warning", "a process", "its trouble", "from C"]
    assert sorted(log.read_text().splitlines()) == sorted(
        [*attempt, "second attempt", *attempt[1:]]
    )


def test_the_traceback_of_what_failed_stands_in_the_log(tmp_path: Path) -> None:
    log = tmp_path / "base.log"
    with pytest.raises(ZeroDivisionError), printed_to(log):
        print(1 / 0)
    assert log.read_text().startswith("Traceback (most recent call last)")
    assert log.read_text().endswith("ZeroDivisionError: division by zero\n")


def test_nothing_printed_leaves_no_log(tmp_path: Path) -> None:
    with printed_to(tmp_path / "base.log"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_lines_are_shown_to_whoever_took_standard_output(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with terminal() as show, printed_to(tmp_path / "base.log"):
        show("a line")
    assert capsys.readouterr().out == "a line\n"
