"""Journals: append-only records of finished episodes, one JSON line each, safe from kill -9 and a full disk.

A line is written at once, flushed and synced, so the only damage that a killed run can leave is a last line
without its newline. Such a line never happened: it is ignored on reading and cut off before the next append.
"""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.cases import Case
from bench.plan import Plan
from wmvla.errors import UserError

Row = dict[str, Any]

LOCK_SECONDS = 5.0
"""How long a run directory's lock is tried for."""

ROW_TYPES: dict[str, tuple[type, ...]] = {
    "index": (int,),
    "case": (str,),
    "suite": (str,),
    "task": (int,),
    "init": (int,),
    "env_seed": (int,),
    "noise_seed": (int,),
    "repeat": (int,),
    "success": (bool,),
    "steps": (int,),
    "status": (str,),
    "error": (str, type(None)),
    "seconds": (float, int),
    "cpu_seconds": (float, int),
    "scene_hash": (str, type(None)),
    "queries": (int,),
    "renders": (int,),
}
"""What a line has at least, as in bench/schemas/episode.schema.json."""

STATUSES = ("ok", "error", "timeout")
"""``timeout`` is the watchdog's; an episode that runs out of max_steps is an ordinary failure, ``ok``."""


class Journal:
    """The record of one rollout case, in the file `path` (which need not exist yet)."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    def rows(self) -> list[Row]:
        """All whole lines, in the order written. UserError names the file and the line of a broken one."""
        try:
            text = self.path.read_bytes()
        except FileNotFoundError:
            return []
        whole = text[: text.rfind(b"\n") + 1]
        return [self._parse(line, number) for number, line in enumerate(whole.splitlines(), start=1)]

    def finished(self) -> set[int]:
        """Indices of the rows of the episode table that are recorded, whatever their status."""
        return {row["index"] for row in self.rows()}

    def append(self, row: Row) -> None:
        """Record one episode: whole and on the disk when this returns.

        Raises UserError where the disk is full or the file cannot be written; earlier rows are untouched.
        """
        problem = _problem(row)
        assert problem is None, problem
        line = json.dumps(row, ensure_ascii=False, separators=(", ", ": ")).encode() + b"\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise self._cannot_write(error) from None
        try:
            end = _end_of_whole_lines(descriptor)
            try:
                os.ftruncate(descriptor, end)
                _write_all(descriptor, line, end)
                os.fsync(descriptor)
            except OSError as error:
                os.ftruncate(descriptor, end)
                raise self._cannot_write(error) from None
        finally:
            os.close(descriptor)

    def _cannot_write(self, error: OSError) -> UserError:
        return UserError(
            f"{self.path}: cannot record an episode: {error.strerror}; nothing before it is lost, "
            f"make room and give the same command again"
        )

    def _parse(self, line: bytes, number: int) -> Row:
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, UnicodeDecodeError):
            raise UserError(f"{self.path}: line {number} is not JSON; restore the file or remove the line") from None
        problem = _problem(row)
        if problem:
            raise UserError(f"{self.path}: line {number}: {problem}")
        assert isinstance(row, dict)
        return row


def journal_path(run_dir: Path, case_id: str) -> Path:
    return Path(run_dir) / "episodes" / f"{case_id}.jsonl"


@contextlib.contextmanager
def lock(run_dir: Path) -> Iterator[None]:
    """Hold the run directory: a second run in it gets a UserError. The kernel lets go of it on kill -9.

    Non-obvious: a killed run's file can stay open for a moment after the run is gone (in a child between fork and exec, or
    while the kernel still tears it down). So the lock is tried for ``LOCK_SECONDS`` before it is refused.
    """
    run_dir = Path(run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + LOCK_SECONDS
    with (run_dir / ".lock").open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise UserError(f"{run_dir}: another run is at work in this directory; wait for it or stop it") from None
                time.sleep(0.1)
        yield


def check_against_plan(plan: Plan, case: Case, rows: Sequence[Row]) -> None:
    """Every row is one of the plan's, recorded once, in one scene per (suite, task, init).

    Raises UserError naming the episode.
    """
    seen: set[int] = set()
    for row in rows:
        where = _episode_name(case.id, row)
        if row["case"] != case.id:
            raise UserError(f"{where}: recorded by case '{row['case']}'; this journal belongs to '{case.id}'")
        if not 0 <= row["index"] < len(plan.episodes):
            raise UserError(f"{where}: not in the plan, whose table has {len(plan.episodes)} episodes")
        planned = plan.episodes[row["index"]]
        for key in ("suite", "task", "init", "env_seed", "noise_seed", "repeat"):
            if row[key] != getattr(planned, key):
                raise UserError(
                    f"{where}: its {key} is {row[key]!r}, the plan says {getattr(planned, key)!r}; "
                    f"the journal is of another plan"
                )
        if row["index"] in seen:
            raise UserError(f"{where}: recorded twice")
        seen.add(row["index"])
    check_scenes({case.id: rows})


def check_scenes(rows_by_case: dict[str, Sequence[Row]]) -> None:
    """All episodes from one (suite, task, init) began in one scene, in every case.

    Raises UserError naming the first episode that did not: arms that saw different scenes are not paired.
    Rows without a scene hash (an error before the reset ended) say nothing.
    """
    first: dict[tuple[str, int, int], tuple[str, str]] = {}
    for case_id, rows in rows_by_case.items():
        for row in rows:
            if row["scene_hash"] is None:
                continue
            scene = (row["suite"], row["task"], row["init"])
            known, by = first.setdefault(scene, (row["scene_hash"], case_id))
            if row["scene_hash"] != known:
                raise UserError(
                    f"{_episode_name(case_id, row)}: its scene is {row['scene_hash'][:12]}, "
                    f"but {known[:12]} in {by}; remove the journals made on another machine or version"
                )


def read_journals(plan: Plan, run_dir: Path) -> dict[str, list[Row]]:
    """Rows of every rollout case of the plan, checked against it and against each other, in table order."""
    rows_by_case: dict[str, list[Row]] = {}
    for case in plan.rollout_cases():
        rows = Journal(journal_path(run_dir, case.id)).rows()
        check_against_plan(plan, case, rows)
        rows_by_case[case.id] = sorted(rows, key=lambda row: row["index"])
    check_scenes(dict(rows_by_case))
    return rows_by_case


def _episode_name(case_id: str, row: Row) -> str:
    return f"{case_id}, episode {row['index']} (task {row['task']}, init {row['init']}, repeat {row['repeat']})"


def _problem(row: object) -> str | None:
    """What is wrong with a line, or None."""
    if not isinstance(row, dict):
        return "not a JSON object"
    for key, kinds in ROW_TYPES.items():
        if key not in row:
            return f"missing key '{key}'"
        if not isinstance(row[key], kinds) or (isinstance(row[key], bool) and bool not in kinds):
            return f"'{key}' is {row[key]!r}"
    if row["status"] not in STATUSES:
        return f"'status' is {row['status']!r}, not one of {', '.join(STATUSES)}"
    return None


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


def _write_all(descriptor: int, line: bytes, offset: int) -> None:
    """One write in practice; a disk that fills up takes part of the line and refuses the rest."""
    while line:
        written = os.pwrite(descriptor, line, offset)
        line, offset = line[written:], offset + written
