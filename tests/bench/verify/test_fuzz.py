"""A thousand damages of plans, journals, metrics, records and configurations: each ends in one line
or is named, none in a traceback, and none in a number that is silently another one."""

import contextlib
import io
import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import ODD_BYTES, ODD_VALUES, mutate_bytes, mutate_file
from sealed_run import sealed_run, small_plan

from bench import cli
from bench.plan import machine, make
from bench.plan.machine import load_machine
from bench.plan.suite import SUITES
from bench.report.write import write_report

FUZZED = (
    "plan.json",
    "provenance.json",
    "manifest.json",
    "cases",
    "episodes",
    "metrics",
    "replays",
)
MANY = settings(max_examples=1000, suppress_health_check=list(HealthCheck), deadline=None)
SOME = settings(max_examples=20, suppress_health_check=list(HealthCheck), deadline=None)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sealed_run(
        tmp_path_factory.mktemp("results") / "run",
        small_plan(arms=("E0", "E2"), episodes=4, steps=3),
    )


@pytest.fixture(scope="module")
def old(sealed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run as it was written before there were sums."""
    run_dir = Path(shutil.copytree(sealed, tmp_path_factory.mktemp("old") / "run"))
    (run_dir / "manifest.json").unlink()
    for path in (run_dir / "cases").glob("*.json"):
        record = json.loads(path.read_text())
        path.write_text(
            json.dumps(
                {key: value for key, value in record.items() if key not in ("sums", "sha256")}
            )
        )
    write_report(run_dir)
    return run_dir


def files(run_dir: Path) -> list[str]:
    found = [
        path
        for name in FUZZED
        for path in (
            [run_dir / name] if (run_dir / name).is_file() else (run_dir / name).rglob("*")
        )
    ]
    return sorted(path.relative_to(run_dir).as_posix() for path in found if path.is_file())


def call(*arguments: str) -> tuple[int, str, str]:
    """Exit code and output of the command line, in this process; whatever is raised is a
    failure."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main(list(arguments))
    return code, out.getvalue(), err.getvalue()


def one_clear_line(err: str) -> bool:
    return err.startswith("error: ") and err.count("\n") == 1


def numbers(report: Any, place: str = "") -> dict[str, Any]:
    """Every number of a report by its place."""
    if isinstance(report, dict | list):
        children = report.items() if isinstance(report, dict) else enumerate(report)
        return {
            way: number
            for key, value in children
            for way, number in numbers(value, f"{place}.{key}").items()
        }
    return {place: report} if isinstance(report, int | float) else {}


def told_by_the_report(report: dict[str, Any]) -> bool:
    """Whether a report says itself that something is missing: episodes, or cases."""
    return (
        bool(report["missing"])
        or not report["complete"]
        or not all(stage["done"] for stage in report["stages"])
    )


def check_damage(original: Path, data: st.DataObject) -> None:
    """Damage one file, ask every command, and look what is said."""
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(shutil.copytree(original, Path(folder) / "results" / "run"))
        name = data.draw(st.sampled_from(files(original)))
        mutate_file(data.draw, run_dir, name, files(original))
        changed = (
            not (run_dir / name).is_file()
            or (run_dir / name).read_bytes() != (original / name).read_bytes()
        )
        sealed = (original / "manifest.json").exists()
        code, out, err = call("verify", str(run_dir))
        assert code in (0, 1, 2)
        assert code != 2 or one_clear_line(err), err
        if sealed and changed:
            assert code != 0
            assert name in (out if code == 1 else err) or (
                name == "manifest.json" and "manifest.json" in out
            )
        for command in (["status", str(run_dir)], ["report", str(run_dir)]):
            code, _, err = call(*command)
            assert code in (0, 2)
            assert code != 2 or one_clear_line(err), err
        if sealed and code == 0:
            before, after = (
                json.loads((folder / "report.json").read_text()) for folder in (original, run_dir)
            )
            assert numbers(before) == numbers(after) or told_by_the_report(after)


@SOME
@given(data=st.data())
def test_damage_of_a_sealed_run_is_named(sealed: Path, data: st.DataObject) -> None:
    check_damage(sealed, data)


@SOME
@given(data=st.data())
def test_damage_of_an_old_run_ends_in_no_traceback(old: Path, data: st.DataObject) -> None:
    check_damage(old, data)


@pytest.mark.slow
@MANY
@given(data=st.data())
def test_a_thousand_damages_of_a_sealed_run(sealed: Path, data: st.DataObject) -> None:
    check_damage(sealed, data)


@pytest.mark.slow
@MANY
@given(data=st.data())
def test_a_thousand_damages_of_an_old_run(old: Path, data: st.DataObject) -> None:
    check_damage(old, data)


LINE = re.compile(rb"^(\s*[\w.\"-]+\s*=\s*)(.+)$")


def mutate_toml(draw: Any, text: bytes) -> bytes:
    """Change, delete, double or rename a line of a TOML file, or some of its bytes."""
    if draw(st.integers(0, 3)) == 0:
        return mutate_bytes(draw, text)
    lines = text.splitlines(keepends=True)
    at = draw(
        st.sampled_from(
            [
                number
                for number, line in enumerate(lines)
                if line.strip() and not line.startswith(b"#")
            ]
        )
    )
    kind = draw(st.sampled_from(["value", "value", "value", "delete", "double", "rename", "bytes"]))
    if kind == "value":
        odd = json.dumps(draw(ODD_VALUES)).replace("NaN", "nan").replace("Infinity", "inf").encode()
        lines[at] = LINE.sub(lambda found: found[1] + odd, lines[at].rstrip(b"\n")) + b"\n"
    elif kind == "delete":
        del lines[at]
    elif kind == "double":
        lines.insert(at, lines[at])
    elif kind == "rename":
        lines[at] = b"x" + lines[at]
    else:
        lines[at] = draw(ODD_BYTES) + b"\n"
    return b"".join(lines)


def check_config(data: st.DataObject) -> None:
    """A damaged suite or machine gives a document, which its hash names, or one line."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        suites = Path(
            shutil.copytree(
                SUITES,
                Path(folder) / "suites",
                ignore=shutil.ignore_patterns("*.py", "__pycache__"),
            )
        )
        machines = Path(shutil.copytree(machine.MACHINES, Path(folder) / "machines"))
        path = data.draw(
            st.sampled_from(
                [
                    suites / "core" / "suite.toml",
                    suites / "fusion" / "suite.toml",
                    machines / "cpu.toml",
                ]
            )
        )
        path.write_bytes(mutate_toml(data.draw, path.read_bytes()))
        patch.setattr(make, "SUITES", suites)
        patch.setattr(make, "load_machine", lambda name: load_machine(name, machines))
        suite = "fusion" if "fusion" in str(path) else "core"
        code, out, err = call(
            "plan", suite, "--scale=mini", "--machine=cpu", "--json", f"--results={folder}/results"
        )
        assert code in (0, 2)
        assert one_clear_line(err) if code == 2 else json.loads(out)


@SOME
@given(data=st.data())
def test_damaged_configurations_end_in_one_line(data: st.DataObject) -> None:
    check_config(data)


@pytest.mark.slow
@MANY
@given(data=st.data())
def test_a_thousand_damaged_configurations(data: st.DataObject) -> None:
    check_config(data)
