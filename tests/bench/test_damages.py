"""Each command of `wmbench` answers each damage to each file of a run in its own words;
docs/damages.md lists them."""

import functools
import logging
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from fake_runs import EPISODES, arguments_for, main_here, trained
from synthetic_run import core_plan

from bench.cli import main
from bench.compare import control_runs
from bench.plan import machine, make, suite
from bench.run.stages.context import Context
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


CACHED = {
    "models/tiny-smolvlm2-*": ("config.json",),
    "models/tiny-vjepa2-*": ("config.json", "model.safetensors"),
    "worldbench/*": (
        *("dataset/meta/info.json", "dataset/meta/episodes/chunk-000/file-000.parquet"),
        *("dataset/data/chunk-000/file-000.parquet", "*.npy", "*_m4.fp16.json"),
    ),
    "base/*/000002/pretrained_model": ("model.safetensors",),
    "of a suite": ("config.json", "model.safetensors"),
}
"""Parts of the cache that a run finds made, and a checkpoint that a suite names."""
PARTS = [(part, name, kind) for part, names in CACHED.items() for name in names for kind in LOST]
READS = ("demonstrations", "base", "latents", "wiring-gate")
"""The cases of a run that read them first; what is damaged is damaged for all that come later."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """A place in which a run has filled the cache, and a copy of it."""
    from tests.wmvla.conftest import write_toy_dataset

    place = tmp_path_factory.mktemp("cache") / "place"
    plan = core_plan("smoke", episodes=EPISODES)
    context = Context(plan, place / "results" / plan.run_name, None)
    assert context.dataset_root is not None
    size = plan.recipe.environment.image_size
    write_toy_dataset(context.dataset_root, context.dataset_repo_id, size)
    code, _, err = said_by(lambda: main(asked_of(place, READS[:-1])))
    assert code == 0, err
    shutil.rmtree(place / "results")
    logging.disable(logging.WARNING)  # of a computer without FFmpeg, with a traceback
    yield place, copied(place, place.with_name("whole"))
    logging.disable(logging.NOTSET)


def asked_of(place: Path, cases: Iterable[str]) -> list[str]:
    run_dir = place / "results" / "any"
    return [*arguments_for(run_dir), *(f"--case={case}" for case in cases)]


@pytest.mark.slow  # 15 seconds each
@pytest.mark.parametrize(("part", "name", "kind"), PARTS)
def test_run_answers_each_damage_to_the_cache(
    part: str, name: str, kind: str, made: tuple[Path, Path], tmp_path: Path,
    section: Section, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    place, whole = made
    copied(whole, place)
    cache = place / "cache"
    if part == "of a suite":
        (base,) = cache.glob("base/*/000002/pretrained_model")
        folder = copied(base, tmp_path / "checkpoint")
        suites = copied(suite.SUITES, tmp_path / "suites")
        text = (suites / "core" / "suite.toml").read_text()
        named = f'[scales.smoke.base]\nsource = "hub"\ncheckpoint = "{folder}"\n'
        text = text.replace('[scales.smoke.base]\nsource = "tiny"\n', named)
        (suites / "core" / "suite.toml").write_text(text)
        for module in (suite, make, control_runs):
            monkeypatch.setattr(module, "SUITES", suites)
        for function in (suite.known_suites, suite.load_suite):
            monkeypatch.setattr(function, "__defaults__", (suites,))
    else:
        (folder,) = cache.glob(part)
    (file,) = folder.glob(name)
    before = file.read_bytes()
    OF_FILES[kind](file)
    latents = "_m4" in file.name  # which the second last case of these makes again
    code, out, err = said_by(lambda: main(asked_of(place, READS[:-1] if latents else READS)))
    assert "Traceback" not in out + err
    if code == 0:
        assert latents, err
        assert file.suffix == ".json" or file.read_bytes() == before
        said = "0: it is made again"
    else:
        line = refusal(code, err, [str(folder)])
        assert part == "of a suite" or f"remove {cache}" in line, line
        if part == "models/tiny-vjepa2-*":
            shutil.rmtree(folder)
            code, _, err = said_by(lambda: main(asked_of(place, READS[:-1])))
            assert code == 0, err
        short = re.sub("[0-9a-f]{8}", "KEY", line)
        said = f"2: {cell(short, {f'{place}/': '', f'{tmp_path}/': ''})}"
    section.add("| of the cache | damage | run |", [label_of(part, name), kind, said])


def label_of(part: str, name: str) -> str:
    return f"{part}/{name}".replace("*", "KEY")


def test_the_page_has_these_rows() -> None:
    rows = [*ROWS, *INPUTS, *((INFO, kind.replace("_", " ")) for kind in IMPORTED)]
    rows += [("run.tar.gz", kind) for kind in OF_FILES]
    rows += [(label_of(part, name), kind) for part, name, kind in PARTS]
    found = [about(line) for line in Section(TITLE).rows()]
    assert sorted(found) == sorted(about(row(each)) for each in rows)
    cells = re.findall(r"\| ([012]): [^|]+ (?=\|)", PAGE.read_text())
    assert len(cells) >= 150
    assert cells.count("2") > cells.count("0")
