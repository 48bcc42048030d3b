"""A machine that fails: calls of `os` on the files below a folder may be the last of their process,
may find the disk full or broken, and only what was synced is there when the power comes back."""

import contextlib
import errno
import io
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest

CALLS = ("open", "write", "pwrite", "ftruncate", "fsync", "replace", "mkdir", "unlink", "rmdir")
NEED_ROOM = ("open", "write", "pwrite", "mkdir", "replace")


class Killed(BaseException):
    """kill -9: nothing that the program does behind it has an effect."""


@dataclass
class Cell:
    """A file or folder, whatever its name; of a folder the names in it."""

    durable: Any


class Disk:
    """The disk below `root`, which is durable as it is now.

    A program that runs in `failing` meets at most one fault: `after` so many calls it is killed,
    or one call fails (EIO), or all that need room fail from there on (ENOSPC), or all writes take
    about half of what they are given, and say so.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.real = {name: getattr(os, name) for name in CALLS}
        self.cells: dict[int, Cell] = {}
        self.lies = self.has_lied = False
        self.fault: str | None = None
        self.left = 0
        self._settle(root)

    @contextlib.contextmanager
    def failing(self, fault: str | None, after: int) -> Iterator[None]:
        """A process that meets `fault`: ``kill``, ``full``, ``broken`` or ``short``; None: it meets none."""
        self.fault, self.left = fault, after
        try:
            with pytest.MonkeyPatch.context() as patch:
                for name in CALLS:
                    patch.setattr(os, name, self._call(name))
                patch.setattr(os, "fdopen", self._fdopen)
                yield
        finally:
            self.fault = None

    @property
    def met(self) -> bool:
        """Whether the fault has come."""
        return self.fault is not None and self.left <= 0

    def power_fails(self, luck: Random) -> None:
        """Of each file and name what was synced, or what was written since, or a part of it."""
        wanted = self._after_a_crash(self.root, luck)
        shutil.rmtree(self.root)
        self._write(self.root, wanted)
        self.cells.clear()
        self._settle(self.root)
        self.lies = self.has_lied = False

    def is_durable(self, file: Path) -> None:
        """The file, which somebody has written otherwise, is on the disk as it is."""
        self._cell(file).durable = file.read_bytes()

    def _after_a_crash(self, path: Path, luck: Random) -> Any:
        now = {each.name: self._cell(each) for each in path.iterdir()}
        then = self._cell(path).durable
        found = {}
        for name in sorted({*now, *then}):
            cell = luck.choice((now, then)).get(name)
            if cell is None:
                continue
            here = path / name
            is_here = now.get(name) is cell
            if isinstance(cell.durable, dict):
                found[name] = self._after_a_crash(here, luck) if is_here else cell.durable
            else:
                found[name] = _torn(here.read_bytes(), cell.durable, luck) if is_here else cell
        return found

    def _write(self, path: Path, wanted: Any) -> None:
        wanted = wanted.durable if isinstance(wanted, Cell) else wanted
        if isinstance(wanted, bytes):
            path.write_bytes(wanted)
            return
        path.mkdir()
        for name, inside in wanted.items():
            self._write(path / name, inside)

    def _settle(self, path: Path) -> Cell:
        if path.is_dir():
            content: Any = {each.name: self._settle(each) for each in path.iterdir()}
        else:
            content = path.read_bytes()
        cell = self.cells[path.stat().st_ino] = Cell(content)
        return cell

    def _cell(self, path: Path) -> Cell:
        return self.cells.setdefault(path.stat().st_ino, Cell({} if path.is_dir() else b""))

    def _call(self, name: str) -> Callable[..., Any]:
        def call(first: Any, *arguments: Any, **named: Any) -> Any:
            if not self._is_ours(first):
                return self.real[name](first, *arguments, **named)
            self._meet(name, first, *arguments)
            if self.fault == "short" and self.left <= 0 and name in ("write", "pwrite"):
                arguments = (arguments[0][: 1 + len(arguments[0]) // 2], *arguments[1:])
            if name == "fsync":
                return self._sync(first)
            new = name == "mkdir" or (name == "open" and not Path(first).exists())
            gone = arguments[0] if name == "replace" else first if name == "unlink" else None
            if gone is not None and Path(gone).exists():
                self.cells.pop(Path(gone).stat().st_ino)  # its number may be another file's now
            done = self.real[name](first, *arguments, **named)
            if new:
                self.cells[Path(first).stat().st_ino] = Cell({} if name == "mkdir" else b"")
            return done

        return call

    def _meet(self, name: str, first: Any, *arguments: Any) -> None:
        self.left -= 1
        if self.fault is None or self.left > 0:
            return
        if self.left == 0 and name in ("write", "pwrite") and self.fault in ("kill", "full"):
            data, *place = arguments
            self.real[name](first, data[: len(data) // 2], *place)  # a short one
        if self.fault == "kill":
            raise Killed
        if self.fault == "full" and name in NEED_ROOM:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self.fault == "broken" and self.left == 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def _is_ours(self, first: Any) -> bool:
        if isinstance(first, int):
            return os.fstat(first).st_ino in self.cells
        return Path(first).is_relative_to(self.root)

    def _sync(self, descriptor: int) -> None:
        if self.lies:
            self.has_lied = True
            return
        cell, path = self.cells[os.fstat(descriptor).st_ino], Path(f"/proc/self/fd/{descriptor}")
        if isinstance(cell.durable, dict):
            cell.durable = {each.name: self._cell(each) for each in path.readlink().iterdir()}
        else:
            cell.durable = path.read_bytes()

    def _fdopen(self, descriptor: int, mode: str = "r", *how: Any, **named: Any) -> Any:
        if mode != "wb":
            return open(descriptor, mode, *how, **named)
        return io.BufferedWriter(_Raw(descriptor, mode))


class _Raw(io.FileIO):
    def write(self, data: Any) -> int:
        return os.write(self.fileno(), bytes(data))


def _torn(now: bytes, durable: bytes, luck: Random) -> bytes:
    """What may be on the disk of a file that has grown since it was synced: a part of the rest."""
    kept = now[: luck.randint(min(len(durable), len(now)), len(now))]
    return luck.choice((kept, kept + b"\0" * (len(now) - len(kept))))
