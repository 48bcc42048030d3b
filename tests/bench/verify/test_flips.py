"""Every single-byte change of a sealed run is found, and the file is named."""

import random
import shutil
from pathlib import Path

import pytest
from sealed_run import sealed_run, small_plan

from bench import cli
from bench.formats.checksums import sha256_of
from bench.verify import reports
from bench.verify.damage import Findings
from bench.verify.manifest import MANIFEST, REPORTS, files_of
from bench.verify.verify import verify


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed run with two arms, so that hundreds of looks at it take seconds."""
    plan = small_plan(arms=("E0", "E2"), episodes=2, steps=2)
    return sealed_run(tmp_path_factory.mktemp("results") / "run", plan)


@pytest.fixture
def reports_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports are a function of the bytes they are made from: of the same bytes they are made once.

    The key is read from the disk each time, so no change can hide behind it.
    """
    made: dict[str, dict[str, bytes] | None] = {}
    rebuild = reports.rebuild

    def once(found: Findings, templates: Path | None) -> dict[str, bytes] | None:
        assert templates is None
        key = "".join(
            sha256_of(path) for name, path in files_of(found.run_dir).items() if name not in REPORTS
        )
        if key not in made:
            made[key] = rebuild(found)
        return made[key]

    monkeypatch.setattr(reports, "rebuild", once)


def flip(path: Path, spread: random.Random) -> bytes:
    """Change one byte of a file to another one; what it held before."""
    before = path.read_bytes()
    place = spread.randrange(len(before))
    changed = bytes([before[place] ^ spread.randrange(1, 256)])
    path.write_bytes(before[:place] + changed + before[place + 1 :])
    return before


def missed_flips(run_dir: Path, flips: int, seed: int) -> list[str]:
    """Files of which a change was not named."""
    spread = random.Random(seed)
    files = {**files_of(run_dir), MANIFEST: run_dir / MANIFEST}
    missed = []
    for _ in range(flips):
        name = spread.choice(list(files))
        before = flip(files[name], spread)
        if name not in {damage.file for damage in verify(run_dir).damages}:
            missed.append(name)
        files[name].write_bytes(before)
    return missed


@pytest.mark.usefixtures("reports_made_once")
@pytest.mark.parametrize("flips", [200, pytest.param(1000, marks=pytest.mark.slow)])
def test_flips_are_found_and_named(tiny: Path, flips: int) -> None:
    assert verify(tiny).damages == ()
    assert missed_flips(tiny, flips, seed=0) == []
    assert verify(tiny).damages == ()


@pytest.mark.slow
def test_a_thousand_flips_of_a_larger_run(original: Path, tmp_path: Path) -> None:
    run_dir = Path(shutil.copytree(original, tmp_path / "run"))
    assert missed_flips(run_dir, flips=1000, seed=1) == []


def test_the_command_line_names_the_file_of_a_flip(
    tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spread = random.Random(2)
    for name, path in files_of(tiny).items():
        before = flip(path, spread)
        assert cli.main(["verify", str(tiny)]) == 1, name
        assert f"WRONG: {name}: " in capsys.readouterr().out
        path.write_bytes(before)
    assert cli.main(["verify", str(tiny)]) == 0
