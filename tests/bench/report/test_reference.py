"""Committed runs are goldens: from their plan, journals and metrics today's code must read the same
numbers."""

import json
import shutil
from pathlib import Path

import pytest

from bench.report.write import write_report

REFERENCES = sorted((Path(__file__).parents[3] / "results" / "reference").glob("*/plan.json"))


@pytest.mark.parametrize("plan", REFERENCES, ids=lambda path: path.parent.name)
def test_a_reference_run_gives_its_report_again(plan: Path, tmp_path: Path) -> None:
    run_dir = shutil.copytree(plan.parent, tmp_path / "run")
    committed = json.loads((run_dir / "report.json").read_text())
    (run_dir / "report.json").unlink()
    assert json.loads(write_report(run_dir).with_suffix(".json").read_text()) == committed


def test_there_is_a_reference_run() -> None:
    assert REFERENCES
