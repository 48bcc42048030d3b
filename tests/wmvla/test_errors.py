"""What a library or the disk raises becomes one sentence with its innermost cause, in every command
alike; an error of our own code keeps its traceback."""

import errno
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from lerobot.datasets.io_utils import load_info
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig

from tests.damages import permissions_count, unreadable
from wmvla.errors import UserError, answer, cause, disk_errors_are_user_errors
from wmvla.files import write_json


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/data/x"), "is full at /data/x: "),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "is full: "),
        (SafetensorError("I/O error: No space left on device (os error 28)"), "is full: "),
        (
            OSError(errno.EIO, "Input/output error", "/data/x"),
            "at /data/x reports an input/output error: ",
        ),
        (SafetensorError("I/O error: Input/output error (os error 5)"), "reports an input/output "),
    ],
)
def test_a_failing_disk_is_one_line(error: Exception, said: str):
    with (
        pytest.raises(UserError, match=f"The disk {said}") as caught,
        disk_errors_are_user_errors(),
    ):
        raise error
    assert "\n" not in str(caught.value)


def test_what_a_library_makes_of_a_failing_disk_is_the_same_line():
    error = RuntimeError("it went wrong")
    error.__cause__ = OSError(errno.EIO, "Input/output error", "/data/x")
    with pytest.raises(UserError, match="The disk at /data/x"), disk_errors_are_user_errors():
        raise error


@pytest.mark.parametrize(
    "error",
    [OSError(errno.EACCES, "Permission denied"), ValueError("x"), UserError("said already")],
)
def test_other_errors_pass(error):
    with pytest.raises(type(error)) as caught, disk_errors_are_user_errors():
        raise error
    assert caught.value is error


def open_weights(path: Path) -> None:
    with safe_open(path, "pt"):
        pass


LIBRARIES: list[tuple[Callable[[Path], object], str]] = [
    (pq.read_table, "Parquet"),
    (open_weights, "header"),
    (lambda path: load_info(path.parent), "No such file or directory"),
    (lambda path: AutoConfig.from_pretrained(path.parent), "Unrecognized model"),
    (lambda path: path.open("x"), "File exists"),
    (lambda path: (path / "below").mkdir(), "Not a directory"),
]


@pytest.mark.parametrize(("read", "said"), LIBRARIES)
def test_what_a_library_raises_is_one_line(tmp_path: Path, capsys, read, said: str):
    path = tmp_path / "half"
    path.write_bytes(b"x" * 100)
    (tmp_path / "config.json").write_text(json.dumps({"a": 1}))

    def command() -> int:
        try:
            read(path)
        except Exception as error:
            raise RuntimeError("a step went wrong") from error
        return 0

    assert answer(command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert "a step went wrong" not in line


def test_of_a_rename_the_name_that_was_wanted_is_given(tmp_path: Path, capsys):
    """The other is a temporary file's, which nobody knows."""
    (tmp_path / "record.json").mkdir()

    def command() -> int:
        write_json(tmp_path / "record.json", {})
        return 0

    assert answer(command) == 2
    assert capsys.readouterr().err.startswith(
        f"error: {tmp_path}/record.json: cannot be written: Is a d"
    )


def test_who_may_not_read_a_file_learns_what_to_do(tmp_path: Path, capsys):
    file = tmp_path / "machine.toml"
    file.write_text("")
    for shut in (file, tmp_path):
        unreadable(shut)
        with permissions_count():
            assert answer(lambda: len(file.read_bytes())) == 2
        shut.chmod(0o700)
        said = f"error: {file}: Permission denied; its owner (ls -l shows whose it is) can change"
        assert capsys.readouterr().err.startswith(said)


def test_what_a_library_hides_on_purpose_is_no_cause():
    """Python's reader of JSON hides a StopIteration, whose text is a place in the file."""
    with pytest.raises(json.JSONDecodeError) as caught:
        json.loads('{"a": ')
    assert cause(caught.value).startswith("Expecting value")


def test_an_error_of_our_own_keeps_its_traceback():
    def command() -> int:
        return {"a": 1}["b"]

    with pytest.raises(KeyError):
        answer(command)


def test_the_traceback_is_there_for_who_asks(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.setenv("WMBENCH_DEBUG", "1")
    assert answer(lambda: (tmp_path / "absent").stat().st_size) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1].startswith(f"error: {tmp_path}/absent: No such file or directory")
