"""``make test`` runs two pytest processes: both reports are shown, and either one's failure is the
whole's."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "test.sh"
FAKE = """#!/bin/sh
case "$*" in
	tests/wmvla) echo "report of wmvla"; exit {wmvla} ;;
	"tests/ --ignore=tests/wmvla") sleep 0.3; echo "report of the others"; exit {others} ;;
esac
echo "what is left out? $*"
exit 9
"""


@pytest.mark.parametrize(("wmvla", "others", "code"), [(0, 0, 0), (1, 0, 1), (0, 3, 3), (1, 3, 1)])
def test_both_are_shown_and_either_failure_counts(
    tmp_path: Path, wmvla: int, others: int, code: int
) -> None:
    (tmp_path / "scripts").mkdir()
    shutil.copy(SCRIPT, tmp_path / "scripts")
    fake = tmp_path / ".venv" / "bin" / "pytest"
    fake.parent.mkdir(parents=True)
    fake.write_text(FAKE.format(wmvla=wmvla, others=others))
    fake.chmod(0o755)
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        ["sh", str(tmp_path / "scripts" / "test.sh")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment,
    )
    assert done.returncode == code, done.stderr
    assert (
        done.stdout.index("report of wmvla")
        < done.stdout.index("== all other tests")
        < done.stdout.index("of the others")
    )
    assert ("== failed" in done.stderr) == (code != 0)
    assert {path.name for path in tmp_path.iterdir()} == {"scripts", ".venv"}, (
        "no log is left behind"
    )


def test_together_they_are_all_tests() -> None:
    """What is in neither would never be run."""
    text = SCRIPT.read_text()
    assert ".venv/bin/pytest tests/wmvla " in text
    assert ".venv/bin/pytest tests/ --ignore=tests/wmvla " in text
    assert "sh scripts/test.sh" in (SCRIPT.parents[1] / "Makefile").read_text()
