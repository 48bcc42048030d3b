"""Journals: append-only records of finished episodes, one JSON line each, safe from kill -9 and a
full disk.

A line is written at once, flushed and synced, so the only damage that a killed run can leave is a
last line without its newline. Such a line never happened: it is ignored on reading and cut off
before the next append.

The shards of a run write journals of their own beside that of the whole; to merge them is to read
them all.
"""

import contextlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from wmvla.documents import build, faults, further
from wmvla.errors import UserError, answer_of_system
from wmvla.files import make_folder, sync_folder, write_at
from wmvla.json_columns import Columns, Form, column, concatenate, read_columns
from wmvla.rollout.shard import Shard

Small = Annotated[int, Meta(ge=0, lt=2**31)]
"""Sums of such numbers fit into 64 bits."""
Seed = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""LeRobot's seeds are as long as that; ours have 31 bits."""
Seconds = Annotated[float, Meta(ge=0, lt=2**31)]
Status = Literal["ok", "error", "timeout"]


@further(Any)
class Row(TypedDict):
    """One line of episodes/<case>.jsonl or of a shard of it: an episode that was played."""

    index: Small
    """Row of the plan's episode table."""
    case: str
    suite: str
    task: Small
    init: Small
    env_seed: Seed
    noise_seed: Seed
    repeat: Small
    success: bool
    steps: Small
    """Control steps at 20 Hz."""
    status: Status
    """``timeout`` is the watchdog's; an episode that runs out of max_steps is an ordinary failure,
    ``ok``."""
    error: str | None
    seconds: Seconds
    cpu_seconds: Seconds
    scene_hash: str | None
    """Of the settled scene; null where the reset did not end."""
    queries: Small
    """Policy calls."""
    renders: Small
    """Camera images."""
    reset: NotRequired[Literal["cheap", "hard"] | None]
    """How the scene was made: over the model of the episode before, bit for bit the same scene, or
    with a model of its own. null: it never was. Older lines lack it."""
    policy_batch: NotRequired[Small]
    """Most queries that were answered together with one of this episode's. Older lines lack it: it
    was 1."""


ROWS = msgspec.json.Decoder(Row)
FORM = Form(Row)


def values(rows: Sequence[Row], key: str) -> NDArray[Any]:
    """What each row holds under a key, `msgspec.UNSET` where it has none; shape (rows,)."""
    return column(rows, key, FORM)


class Journal:
    """One file of episodes, `path` (which need not exist yet): those of a rollout case, or of one
    shard of it."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    def rows(self) -> Columns[Row]:
        """All whole lines, in the order written. UserError names the file and the line of a broken
        one."""
        try:
            with self.path.open("rb") as file:
                return read_columns(file, FORM, self._parse)
        except FileNotFoundError:
            return concatenate([], FORM)
        except OSError as error:
            raise UserError(f"{self.path}: cannot be read: {answer_of_system(error)}") from None

    def finished(self) -> set[int]:
        """Indices of the rows of the episode table that are recorded here, whatever their
        status."""
        return set(values(self.rows(), "index").tolist())

    def append(self, row: Row) -> None:
        """Record one episode: whole and on the disk when this returns.

        Raises UserError where the disk is full or the file cannot be written; earlier rows are
        untouched.
        """
        problem = next(faults(Row, row), None)
        assert problem is None, problem
        line = json.dumps(row, ensure_ascii=False, separators=(", ", ": ")).encode() + b"\n"
        try:
            make_folder(self.path.parent)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise self._cannot_write(error) from None
        end = None
        try:
            end = _end_of_whole_lines(descriptor)
            os.ftruncate(descriptor, end)
            write_at(descriptor, line, end)
            os.fsync(descriptor)
            if end == 0:
                sync_folder(self.path.parent)
        except OSError as error:
            if end is not None:
                with contextlib.suppress(OSError):  # half a line is cut off by the next append
                    os.ftruncate(descriptor, end)
            raise self._cannot_write(error) from None
        finally:
            os.close(descriptor)

    def _cannot_write(self, error: OSError) -> UserError:
        return UserError(
            f"{self.path}: cannot record an episode: {error.strerror}; nothing before it is lost, "
            "make room or repair the disk and give the same command again"
        )

    def _parse(self, line: bytes, number: int) -> Row:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            raise UserError(
                f"{self.path}: line {number} is not JSON; restore the file or remove the line"
            ) from None
        return build(Row, row, f"{self.path}: line {number}")


def shard_journal_path(path: Path, shard: Shard | None) -> Path:
    """The file that a shard of the journal `path` writes: ``E2-pred-s0.shard-1-of-4.jsonl``; `path`
    itself without a shard."""
    path = Path(path)
    return (
        path
        if shard is None
        else path.with_name(f"{path.stem}.shard-{shard.number}-of-{shard.of}{path.suffix}")
    )


def journal_files(path: Path) -> list[Path]:
    """The journal `path` and those of its shards, of every split there was; those that exist."""
    path = Path(path)
    name = re.compile(
        rf"{re.escape(path.stem)}(\.shard-\d+-of-\d+)?{re.escape(path.suffix)}", re.ASCII
    )
    try:
        return sorted(found for found in path.parent.iterdir() if name.fullmatch(found.name))
    except FileNotFoundError:
        return []


def read_all(path: Path) -> Columns[Row]:
    """The rows of the journal `path` and of its shards.

    Raises UserError where a line is broken, and where an episode is in two lines, naming both
    places.
    """
    files = journal_files(path)
    parts = [Journal(file).rows() for file in files]
    rows = concatenate(parts, FORM)
    indices, first = np.unique(values(rows, "index"), return_index=True)
    if len(indices) < len(rows):
        again = int(np.delete(np.arange(len(rows)), first)[0])
        index = rows[again]["index"]
        places = [
            (file, line)
            for file, part in zip(files, parts, strict=True)
            for line in range(1, len(part) + 1)
        ]
        (file, line), (other, other_line) = places[again], places[first[indices == index].item()]
        raise UserError(
            f"{file} line {line}: episode {index} is recorded already in {other} line"
            f" {other_line}; remove one of the two lines"
        )
    return rows


def _end_of_whole_lines(descriptor: int) -> int:
    """Offset behind the last newline: where a half-written line begins, or the end of the file."""
    end = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - 65536)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0
