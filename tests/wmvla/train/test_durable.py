"""What a training leaves on the disk when the machine stops, and what it does with a damaged file:
no policy is trained here."""

import json
import os
import time
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch

from wmvla.errors import UserError
from wmvla.train import checkpoint
from wmvla.train.checkpoint import latest_step, remove_older, save_checkpoint, step_folder
from wmvla.train.life import Life
from wmvla.train.metrics import MetricsFile
from wmvla.train.only_one import only_one
from wmvla.watch.life import read_sign


class Saved:
    """A policy, or a processor, with one file."""

    def save_pretrained(self, folder: Path, state_dict: object = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.safetensors").write_text("weights")


def test_a_checkpoint_is_on_the_disk_before_the_older_one_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deeds = []
    fsync, remove = os.fsync, checkpoint.shutil.rmtree

    def note_sync(descriptor: int) -> None:
        deeds.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    def note_removal(path: Path, **how: object) -> None:
        if Path(path).exists():
            deeds.append(f"removed {Path(path).name}")
        remove(path, **how)

    save_checkpoint(tmp_path, 1, Saved(), (Saved(), Saved()), {})
    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(checkpoint.shutil, "rmtree", note_removal)
    save_checkpoint(tmp_path, 2, Saved(), (Saved(), Saved()), {})
    assert deeds[-2:] == [tmp_path.name, "removed 000001"], "its own name too"
    assert {"model.safetensors", "optimizer.pt", "training_step.json"} <= set(deeds)
    assert {"pretrained_model", "training_state"} <= set(deeds), "names in its folders"
    assert latest_step(tmp_path) == 2
    assert not step_folder(tmp_path, 1).exists()


def test_what_a_killed_training_left_is_removed(tmp_path: Path) -> None:
    """Half of the older checkpoint, and one that was never finished."""
    for left in ("000001/training_state", "000002/pretrained_model", ".000002-abc/training_state"):
        (tmp_path / left).mkdir(parents=True)
    (tmp_path / "notes").mkdir()
    remove_older(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000002", "notes"]
    remove_older(tmp_path / "nothing", 0)


def lines(*steps: int) -> str:
    return "".join(json.dumps({"step": step, "seconds": 0.5 * step}) + "\n" for step in steps)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "has no whole line"),
        (lines(1, 2), "ends at step 2"),
        (lines(1, 2) + "[3]\n" + lines(4), "ends at step 2"),
    ],
)
def test_metrics_without_the_step_of_the_checkpoint_are_refused(
    tmp_path: Path, text: str, found: str
) -> None:
    path = tmp_path / "E2-train-s0.jsonl"
    path.write_text(text)
    with pytest.raises(UserError) as told:
        MetricsFile(path, 4)
    assert (
        str(told.value) == f"{path}: {found}, and the checkpoint to continue from is of step 4; put"
        " the file back as it was, or remove that checkpoint to train from the beginning"
    )
    assert path.read_text() == text, "nothing is lost"


def test_metrics_behind_the_checkpoint_are_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "E2-train-s0.jsonl"
    path.write_text(lines(1, 2, 3, 4) + '{"step')
    metrics = MetricsFile(path, 3)
    metrics.add(4, 0.1, 8, {"loss_total": torch.tensor(1.0)})
    metrics.flush(1.0)
    assert path.read_text().startswith(lines(1, 2, 3))
    assert json.loads(path.read_text().splitlines()[3])["seconds"] == 2.5


def hold(folder: Path, seconds: float) -> None:
    with only_one(folder, Life(), lambda: False):
        reader = os.fork()  # as the readers of data are; this one hangs
        if not reader:
            time.sleep(60)
            os._exit(0)
        (folder.parent / "held").write_text(str(reader))
        time.sleep(seconds)
        (folder.parent / "saved").touch()


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_training_waits_for_one_that_ends_in_its_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Until that one is gone, and not for what it started."""
    folder, signs = tmp_path / "checkpoints", tmp_path / "signs"
    other = get_context("fork").Process(target=hold, args=(folder, 1.0), daemon=True)
    other.start()
    while not (tmp_path / "held").exists():
        assert other.is_alive()
        time.sleep(0.01)
    with only_one(folder, Life(signs), lambda: True) as taken:
        assert not taken, "asked to stop while it waited"
    with only_one(folder, Life(signs), lambda: False) as taken:
        assert taken
        assert (tmp_path / "saved").exists()
        os.kill(int((tmp_path / "held").read_text()), 9)
    sign = read_sign(signs)
    assert sign is not None
    assert sign.at == "waiting for an earlier training"
    assert f"waiting for an earlier training in {folder}" in capsys.readouterr().err
