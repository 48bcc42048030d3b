"""Sums of folders."""

from pathlib import Path

from bench.formats.checksums import sha256_of
from bench.share.pull import _take_over
from wmvla.commands.evaluation.settings import checkpoint_hash


def test_hidden_files_are_nobodys_evidence(tmp_path: Path) -> None:
    """What a Mac or a network disk lays beside a checkpoint changes no sum of it."""
    (tmp_path / "config.json").write_text("{}")
    sums = sha256_of(tmp_path), checkpoint_hash(tmp_path)
    for name in ("._config.json", ".nfs0001", "inside/.DS_Store", ".folder/x.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("of somebody else")
    assert (sha256_of(tmp_path), checkpoint_hash(tmp_path)) == sums


def test_a_pull_leaves_hidden_files_alone(tmp_path: Path) -> None:
    (tmp_path / "stage").mkdir()
    hidden = tmp_path / "here" / "failures" / "._E0-train-s0.json"
    hidden.parent.mkdir(parents=True)
    hidden.touch()
    _take_over(tmp_path / "stage", tmp_path / "here")
    assert hidden.exists()
