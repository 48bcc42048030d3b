"""Slow tests have a part of `make test-slow`; in CI no test is skipped for want of a program."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PARTS = {
    name: paths.split()
    for name, paths in re.findall(
        r"^SLOW_(\w+) := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE
    )
}
NIGHTLY = yaml.safe_load((ROOT / ".github/workflows/nightly.yml").read_text())
SKIPPED = """
import pytest
@pytest.mark.skipif(True, reason="{reason}")
def test_it(): pass
"""


def parts_of(file: str) -> list[str]:
    """The parts that run a test file."""
    found = []
    for name, paths in PARTS.items():
        ignored = [path.removeprefix("--ignore=") for path in paths if path.startswith("--ignore=")]
        inside = [path for path in paths if not path.startswith("--")]
        if any(file.startswith(path) for path in inside) and not any(
            file.startswith(path) for path in ignored
        ):
            found.append(name)
    return found


def test_every_slow_test_is_in_one_part() -> None:
    slow = [
        path.relative_to(ROOT).as_posix()
        for path in ROOT.glob("tests/**/test_*.py")
        if "mark.slow" in path.read_text() and path != Path(__file__)
    ]
    assert len(slow) > 10
    assert {file: len(parts_of(file)) for file in slow} == dict.fromkeys(slow, 1)
    for paths in PARTS.values():
        for path in paths:
            assert (ROOT / path.removeprefix("--ignore=")).exists()


def test_every_part_runs_every_night() -> None:
    assert NIGHTLY["jobs"]["slow"]["strategy"]["matrix"]["part"] == list(PARTS)
    gitlab = yaml.safe_load((ROOT / ".gitlab-ci.yml").read_text())
    assert gitlab["slow"]["parallel"]["matrix"] == [{"PART": list(PARTS)}]


@pytest.mark.parametrize("part", ["", "smi"])
def test_an_unknown_part_is_one_line(part: str) -> None:
    done = subprocess.run(
        ["make", "--old-file=.venv/.ready", "test-slow", f"PART={part}"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == (
        "make test-slow needs PART=, one of sim, train, bench, slurm, pages"
    )


@pytest.mark.parametrize(
    ("reason", "ci", "code"),
    [
        ("no chromium on the PATH", "true", 1),
        ("no chromium on the PATH", "", 0),
        ("rsync is not installed", "true", 1),
        ("sshd, ssh, ssh-keygen or rsync is not installed", "true", 1),
        ("root may write anywhere", "true", 0),
    ],
)
def test_a_skip_for_want_of_a_program_fails_in_ci(
    tmp_path: Path, reason: str, ci: str, code: int
) -> None:
    (tmp_path / "test_one.py").write_text(SKIPPED.format(reason=reason))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.conftest", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "CI": ci, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout
    assert (f"CI must have what this test needs: {reason}" in done.stdout) == (code == 1)
