"""The code version: what can change a result changes it, and nothing else does."""

import ast
import shutil
from pathlib import Path

import pytest

from bench.host.folders import CODE as ROOT
from bench.record.code_version import APART, code_sha256, counted_sources

PYTHON = '''"""What it does."""

RATE = 3
"""Steps a second."""

def play(steps):
    """Play."""
    if steps < 1:
        raise ValueError(f"no steps: {steps}")
    return [step * 2 for step in range(steps)]  # twice
'''
SUITE = """name = "core"  # its folder
question = "does it?"
seeds = [0, 1]

[arms.E0]
title = "plain"
policy = "smolvla"

[scales.mini]
cannot_say = ["much"]
steps = 300
"""
SOURCES = {
    "bench/plan/document.py": "a = 1",
    "bench/plan/machines/cpu.toml": "name = 'cpu'",
    "bench/judge/stats/rates.py": "b = 1",
    "bench/report/write.py": "c = 1",
    "suites/core/suite.toml": "name = 'core'",
    "suites/throughput/test_speed.py": "d = 1",
    "wmvla/__init__.py": "",
    "uv.lock": "version = 1",
    "pyproject.toml": "",
}

AFTERWARDS = (
    "bench/cli.py",
    *(
        f"bench/commands/{name}.py"
        for name in (
            "compare",
            "history",
            "import_results",
            "pack",
            "plan",
            "pull",
            "report",
            "run",
            "status",
            "verify",
            "videos",
            "watching",
        )
    ),
)
"""Commands: they ask what is apart for words, or for what is done when the verdict is known. run asks
for the controls when it has ended, and the host's doctor is a command of its own."""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in SOURCES.items():
        write(tmp_path, name, text)
    return tmp_path


def fresh(tree: Path) -> str:
    """The hash now: a process asks once."""
    code_sha256.cache_clear()
    return code_sha256(tree)


def write(tree: Path, name: str, text: str) -> None:
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    "name",
    [
        "bench/plan/document.py",
        "bench/plan/machines/cpu.toml",
        "bench/new.py",
        "bench/reports.py",
        "suites/core/suite.toml",
        "uv.lock",
    ],
)
def test_what_can_change_a_result_changes_it(tree: Path, name: str) -> None:
    before = fresh(tree)
    write(tree, name, "another")
    assert fresh(tree) != before


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "docs/world.md",
        "tests/test_plan.py",
        "scripts/setup.sh",
        "pyproject.toml",
        "results/core-mini-cpu-12345678/plan.json",
        "bench/__pycache__/plan.cpython-312.pyc",
        "bench/formats/schemas/plan.schema.json",
        "bench/report/write.py",
        "bench/wording/plans.py",
        "bench/verify/sums.py",
        "bench/compare/parity.py",
        "bench/report/templates/report.html.j2",
        "bench/calibration/looks.py",
        "suites/throughput/test_speed.py",
    ],
)
def test_what_cannot_leaves_it(tree: Path, name: str) -> None:
    before = fresh(tree)
    write(tree, name, "another")
    assert fresh(tree) == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("What it does.", "What this module does."),
        ("Steps a second", "Steps in one second"),
        ("Play.", "Play it."),
        ('    """Play."""\n', ""),
        ("  # twice", "  # doubled"),
        ("def play(steps):", "# a comment\n\n\ndef play(\n    steps,\n):"),
        ("no steps: {steps}", "there must be steps, not {steps + 0}"),
    ],
)
def test_wording_and_layout_of_code_do_not_count(tree: Path, old: str, new: str) -> None:
    assert old in PYTHON
    write(tree, "wmvla/play.py", PYTHON)
    before = fresh(tree)
    write(tree, "wmvla/play.py", PYTHON.replace(old, new))
    assert fresh(tree) == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("RATE = 3", "RATE = 4"),
        ("RATE = 3", "PACE = 3"),
        ("steps < 1", "steps <= 1"),
        ("step * 2", "step + 2"),
        ("ValueError", "TypeError"),
        ("for step in range(steps)", "for step in range(steps) if step"),
        ("        raise", "        pass\n    if steps:\n        raise"),
    ],
)
def test_what_code_does_counts(tree: Path, old: str, new: str) -> None:
    assert old in PYTHON
    write(tree, "wmvla/play.py", PYTHON)
    before = fresh(tree)
    write(tree, "wmvla/play.py", PYTHON.replace(old, new))
    assert fresh(tree) != before


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("  # its folder", "", True),
        ("does it?", "does it really?", True),
        ('"plain"', '"without memory"', True),
        ('["much"]', '["much", "more"]', True),
        ("steps = 300", "steps  =  3_00", True),
        ("steps = 300", "steps = 301", False),
        ("[0, 1]", "[1, 0]", False),
        ("policy", "polisy", False),
    ],
)
def test_of_a_suite_numbers_count_and_text_for_people_does_not(
    tree: Path, old: str, new: str, same: bool
) -> None:
    assert old in SUITE
    write(tree, "suites/core/suite.toml", SUITE)
    before = fresh(tree)
    write(tree, "suites/core/suite.toml", SUITE.replace(old, new))
    assert (fresh(tree) == before) == same


def test_names_count_and_the_place_does_not(
    tree: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    before = fresh(tree)
    elsewhere = Path(shutil.copytree(tree, tmp_path_factory.mktemp("else") / "where"))
    assert fresh(elsewhere) == before
    (elsewhere / "bench" / "plan" / "document.py").rename(elsewhere / "bench" / "plan" / "plans.py")
    assert fresh(elsewhere) != before


def test_content_does_not_slip_from_one_file_into_the_next(tree: Path) -> None:
    write(tree, "bench/judge/stats/rates.py", "")
    write(tree, "bench/plan/document.py", "a = 1b = 1")
    moved = fresh(tree)
    write(tree, "bench/judge/stats/rates.py", "b = 1")
    write(tree, "bench/plan/document.py", "a = 1")
    assert fresh(tree) != moved


def test_a_missing_lock_is_an_error(tree: Path) -> None:
    (tree / "uv.lock").unlink()
    with pytest.raises(FileNotFoundError):
        fresh(tree)


def test_a_wheel_has_no_lock(tree: Path) -> None:
    (tree / "uv.lock").unlink()
    (tree / "pyproject.toml").unlink()
    assert "uv.lock" not in counted_sources(tree)
    assert len(code_sha256(tree)) == 64


def test_the_sources_of_this_project_are_counted() -> None:
    counted = list(counted_sources())
    assert {
        "bench/plan/document.py",
        "bench/judge/stats/rates.py",
        "suites/conftest.py",
        "suites/core/suite.toml",
        "uv.lock",
    } <= set(counted)
    assert "wmvla/rollout/journal.py" in counted
    assert not [name for name in counted if "__pycache__" in name or name.startswith("tests")]


def test_nothing_that_counts_needs_what_is_apart() -> None:
    """But commands that are given after the verdict: so what is apart cannot change a result."""
    apart = tuple(folder.replace("/", ".") for folder in APART)
    for name in counted_sources():
        if not name.endswith(".py") or name.startswith((*AFTERWARDS, "bench/share/")):
            continue
        for node in ast.walk(ast.parse((ROOT / name).read_text())):
            found = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{name}: relative imports are not understood here"
                found = [f"{node.module}.{alias.name}" for alias in node.names]
            assert not [
                module
                for module in found
                if f"{module}.".startswith(tuple(f"{each}." for each in apart))
            ], name
