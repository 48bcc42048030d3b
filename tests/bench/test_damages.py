"""Each command of `wmbench` answers each damage to each file of a run in its own words;
docs/damages.md lists them."""

import functools
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_runs import EPISODES, arguments_for, main_here, trained
from synthetic_run import core_plan

from bench.cli import main
from bench.compare import control_runs
from bench.plan import machine, make, suite
from tests.damages import (
    OF_FILES,
    OF_JSON,
    PAGE,
    REWRITE,
    Section,
    about,
    cell,
    copied,
    permissions_count,
    refusal,
    row,
    said_by,
)

TITLE = "The commands of wmbench"
RESOURCES = Path(__file__).parents[1] / "resources"
COMMANDS = ("status", "report", "verify", "pack", "compare", "import --into")
FILES: dict[str, dict[str, Callable[[Path], None]]] = {
    "plan.json": OF_JSON,
    "provenance.json": OF_JSON,
    "manifest.json": OF_JSON,
    "report.json": OF_JSON,
    "cases/E2-train-s0.json": OF_JSON,
    "cases/E2-pred-s0.json": OF_JSON,
    "episodes/E2-pred-s0.jsonl": OF_JSON,
    "metrics/E2-train-s0.jsonl": OF_JSON,
    "replays/E2-replay-s0.jsonl": OF_JSON,
}
LOST = ("missing", "empty", "half of it", "other bytes")
"""Journals that lost whole lines, as a killed writer or a repair leaves them."""
PLAN = core_plan("smoke", episodes=EPISODES)
ROWS = [(file, kind) for file, kinds in FILES.items() for kind in kinds]


@pytest.fixture(scope="module")
def section() -> Iterator[Section]:
    found = Section(TITLE)
    yield found
    if REWRITE:
        found.write()


def flags_of(command: str, run_dir: Path, good: Path, out: Path) -> list[str]:
    name, *more = command.split()
    if name == "pack":
        return [name, str(run_dir), f"--out={out / 'run.tar.gz'}", "--with-names"]
    if name == "compare":
        return [name, str(good), str(run_dir)]
    if name == "import":
        info = RESOURCES / "eval_info" / "stock_lerobot_0.6.1.json"
        return [name, str(info), "--as=E0-none", *more, str(run_dir)]
    return [name, str(run_dir)]


def why_played(file: str, kind: str, command: str) -> str:
    """Why a command may go on beside a damage to ``file``; empty where it may not."""
    if kind == "missing" and file.startswith("cases/") and command != "verify":
        return "the case is not done yet"
    if kind == "missing" and file == "provenance.json":
        return "the machine is not known"
    made = {"manifest.json", "report.json"}
    if file in made and command == "report":
        return "it is written anew"
    if file.startswith("episodes/") and kind in LOST and command in ("status", "report"):
        return "the episodes count as not played, and that is said"
    if command == "compare" and file.startswith(("metrics/", "replays/")):
        return "it is not read"
    if command == "pack" and file != "plan.json":
        return "it is packed as it is, and verify finds it"
    others = command == "import --into" and file != "plan.json"
    return "it is not read" if others or file in made else ""


@pytest.mark.slow
@pytest.mark.parametrize(("file", "kind"), ROWS)
def test_each_command_answers_each_damage(
    file: str, kind: str, original: Path, tmp_path: Path, section: Section
) -> None:
    said = []
    for command in COMMANDS:
        run_dir = copied(original, tmp_path / "run")
        FILES[file][kind](run_dir / file)
        flags = flags_of(command, run_dir, original, tmp_path)
        code, out, err = said_by(functools.partial(main, flags))
        places = {f"{run_dir}/": "", str(run_dir): "RUN", f"{tmp_path}/": ""}
        assert "Traceback" not in out
        assert "Traceback" not in err
        if command == "verify" and code == 1:
            (first, *_) = (line for line in out.splitlines() if line.startswith("WRONG: "))
            assert file in out
            said.append(f"1: {cell(first.removeprefix('WRONG: '), places)}")
        elif command == "compare" and code == 1:
            assert out.startswith("OPEN: episodes are still missing")
            said.append(f"1: {cell(out.splitlines()[0], places)}")
        elif code == 2:
            said.append(f"2: {cell(refusal(code, err, [file, str(run_dir)]), places)}")
        else:
            assert code == 0, err
            assert why_played(file, kind, command), f"{command} believes {file}: {out}"
            said.append(f"0: {why_played(file, kind, command)}")
    section.add(f"| run | damage | {' | '.join(COMMANDS)} |", [file, kind, *said])


INFO = "eval_info.json"
BAD = [
    path
    for path in sorted((RESOURCES / "bad" / "eval_info").glob("*.json"))
    if path.stem != "a_list"  # one of OF_JSON
]


IMPORTED = [*OF_JSON, *(path.stem for path in BAD)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", IMPORTED)
def test_an_import_answers_each_damage(kind: str, tmp_path: Path, section: Section) -> None:
    info = tmp_path / INFO
    made = {path.stem: path for path in BAD}
    shutil.copy(made.get(kind, RESOURCES / "eval_info" / "stock_lerobot_0.6.1.json"), info)
    if kind in OF_JSON:
        OF_JSON[kind](info)
    flags = ["import", str(info), "--as=E0-none", f"--results={tmp_path / 'results'}"]
    code, _, err = said_by(lambda: main(flags))
    line = cell(refusal(code, err, [INFO]), {f"{tmp_path}/": ""})
    assert not (tmp_path / "results").exists()
    section.add("| results | damage | import |", [INFO, kind.replace("_", " "), f"2: {line}"])


@pytest.mark.slow
@pytest.mark.parametrize("kind", OF_FILES)
def test_a_packed_run_answers_each_damage(
    kind: str, original: Path, tmp_path: Path, section: Section
) -> None:
    packed = tmp_path / "run.tar.gz"
    assert said_by(lambda: main(flags_of("pack", original, original, tmp_path)))[0] == 0
    OF_FILES[kind](packed)
    code, _, err = said_by(lambda: main(["verify", str(packed)]))
    line = cell(refusal(code, err, [packed.name]), {f"{tmp_path}/": ""})
    section.add("| packed run | damage | verify |", [packed.name, kind, f"2: {line}"])


PLANNED = {"suites/core/suite.toml": OF_FILES, "machines/cpu.toml": OF_FILES, "plan.json": OF_JSON}
"""What `plan` and `run` read before the first case; the last one in the run directory."""
INPUTS = [(file, kind) for file, kinds in PLANNED.items() for kind in kinds]


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the suites and machines that the commands read, and a run that was begun."""
    for name, source in (("suites", suite.SUITES), ("machines", machine.MACHINES)):
        shutil.copytree(source, tmp_path / name)
    for module in (suite, make, control_runs):
        monkeypatch.setattr(module, "SUITES", tmp_path / "suites")
    for function in (machine.load_machine, machine.load_performance):
        monkeypatch.setattr(function, "__defaults__", (tmp_path / "machines",))
    trained(PLAN, tmp_path / "results")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(("file", "kind"), INPUTS)
def test_plan_and_run_answer_each_damage(
    file: str, kind: str, inputs: Path, section: Section
) -> None:
    run_dir = inputs / "results" / PLAN.run_name
    PLANNED[file][kind](run_dir / file if file == "plan.json" else inputs / file)
    places = {f"{run_dir}/": "", f"{inputs}/": "", str(run_dir): "RUN"}
    asked = arguments_for(run_dir)
    said = []
    for command in ("plan", "run"):
        with permissions_count():
            code, _, err = main_here([command, *asked[1:]])
        assert "Traceback" not in err
        if code == 0:
            assert file == "plan.json"
            assert command == "plan" or kind == "missing"
            said.append(f"0: {'it is not read' if command == 'plan' else 'it is written anew'}")
        else:
            names = [file, Path(file).parent.name, Path(file).stem]
            said.append(f"2: {cell(refusal(code, err, names), places)}")
    section.add("| input | damage | plan | run |", [file, kind, *said])


def test_the_page_has_these_rows() -> None:
    rows = [*ROWS, *INPUTS, *((INFO, kind.replace("_", " ")) for kind in IMPORTED)]
    rows += [("run.tar.gz", kind) for kind in OF_FILES]
    found = [about(line) for line in Section(TITLE).rows()]
    assert sorted(found) == sorted(about(row(each)) for each in rows)
    cells = re.findall(r"\| ([012]): [^|]+ (?=\|)", PAGE.read_text())
    assert len(cells) >= 150
    assert cells.count("2") > cells.count("0")
