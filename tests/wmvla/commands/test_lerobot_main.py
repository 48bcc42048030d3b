"""What every ``lerobot-wm-*`` command does: it runs its own checkout's code, leaves nothing in /tmp,
and answers a wrong wish with one line."""

import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from wmvla.commands.convert import main as convert
from wmvla.commands.evaluation.main import main as evaluate
from wmvla.commands.latents import main as latents
from wmvla.commands.train import main as train

COMMANDS = {"convert": convert, "eval": evaluate, "latents": latents, "train": train}
LIBERO = ["--env.type=libero", "--env.task=libero_object"]


def refused(
    command: Callable[[list[str]], int], arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> str:
    """The one line that the command ends with."""
    assert command(arguments) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    return line


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_copied_environment_runs_nothing(
    command: Callable[[list[str]], int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    program = tmp_path / ".venv/bin/lerobot-wm"
    program.parent.mkdir(parents=True)
    shutil.copy(Path(sys.prefix, "pyvenv.cfg"), tmp_path / ".venv")
    monkeypatch.setattr("sys.argv", [str(program)])
    monkeypatch.delenv("PYTHONPATH", raising=False)
    line = refused(command, ["--help"], capsys)
    assert line.startswith(f"error: {tmp_path}: its environment was made for the checkout ")


@pytest.fixture
def empty_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_nothing_is_left_in_tmp(
    base: Path,
    world_flags: list[str],
    data_flags: list[str],
    empty_tmp: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Where a command ends well, and where it fails early or late."""
    assert convert([str(base), str(tmp_path / "world"), *world_flags, "--policy.device=cpu"]) == 0
    trained = [f"--policy.path={base}", *data_flags, "--steps=1", "--save_checkpoint=false"]
    assert train([*trained, f"--output_dir={tmp_path / 'run'}"]) == 0
    refused(convert, [str(base), str(tmp_path / "other"), "--policy.nothing=1"], capsys)
    refused(evaluate, [f"--policy.path={base}", "--env.type=aloha"], capsys)
    assert list(empty_tmp.iterdir()) == []


@pytest.mark.parametrize("kind", ["aloha", "pusht", "metaworld"])
def test_an_environment_that_is_not_installed_is_one_line(
    kind: str, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refused(evaluate, [f"--policy.path={base}", f"--env.type={kind}"], capsys)
    assert f"--env.type={kind} is not installed here" in line
    assert "--env.type=libero" in line


def test_an_unknown_environment_is_one_line(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(evaluate, [f"--policy.path={base}", "--env.type=nothing"], capsys)
    assert "--env.type" in line
    assert "libero" in line


@pytest.mark.parametrize("steps", [0, -1, 1000])
def test_a_checkpoint_with_an_impossible_number_of_actions_is_refused(
    steps: int, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such a policy would be asked for ever: its queue of actions stays empty."""
    copy = tmp_path / "checkpoint"
    shutil.copytree(base, copy)
    fields = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**fields, "n_action_steps": steps}))
    for command in (evaluate, train):
        wish = LIBERO if command is evaluate else ["--dataset.repo_id=toy/noise"]
        line = refused(command, [f"--policy.path={copy}", *wish], capsys)
        assert "n_action_steps" in line
        assert str(steps) in line
    line = refused(convert, [str(copy), str(tmp_path / "world")], capsys)
    assert "n_action_steps" in line
    assert not (tmp_path / "world").exists()


@pytest.mark.parametrize(
    ("command", "flag", "named"),
    [
        (evaluate, "--policy.n_action_steps=0", "n_action_steps"),
        (evaluate, "--policy.n_action_steps=1000", "n_action_steps"),
        (evaluate, "--policy.chunk_size=0", "chunk_size"),
        (evaluate, "--eval.n_episodes=0", "--eval.n_episodes=0"),
        (evaluate, "--eval.batch_size=-1", "--eval.batch_size=-1"),
        (train, "--policy.n_action_steps=-1", "n_action_steps"),
        (train, "--steps=0", "--steps=0"),
        (train, "--steps=-1", "--steps=-1"),
        (train, "--batch_size=0", "--batch_size=0"),
    ],
)
def test_a_count_that_cannot_be_is_one_line(
    command: Callable[[list[str]], int],
    flag: str,
    named: str,
    base: Path,
    data_flags: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wish = LIBERO if command is evaluate else data_flags
    out = tmp_path / "out"
    arguments = [f"--policy.path={base}", *wish, f"--output_dir={out}", flag]
    assert named in refused(command, arguments, capsys)
    assert not out.exists()
