"""What a writer leaves when the disk fails it, at one of its calls after the other: those of Python
and those of the libraries that write by themselves (``failing_disk.c``)."""

import contextlib
import ctypes
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from wmvla.errors import answer

ROOT = Path(__file__).parents[1]
SOURCE = Path(__file__).with_suffix(".c")
FAULTS = {
    "broken": r"The disk( at \S+)? reports an input/output error: |.*: Input/output error",
    "full": r"The disk is full( at \S+)?: |.*: No space left on device",
    "short": "",
}
"""What is said of each; writes that are not whole are repeated without a word."""
MOST_PLACES = 6
"""Calls of one writer that fail in turn: the first, the last, and some between."""

Writer = Callable[[Path], Callable[[], object]]
"""Fills a folder, and gives what then writes in it."""
Tree = Mapping[str, bytes]


def passes_on_a_failing_disk(tests: Path, folder: Path) -> None:
    """Run a module of tests in a process in which the disk can fail."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("gcc is not installed")
    library = folder / "failing_disk.so"
    command = [compiler, "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"]
    subprocess.run(command, check=True, timeout=60)
    options = ["-o", "addopts=-q --strict-markers", "-p", "no:cacheprovider", "-n0"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(tests)],
        cwd=ROOT,
        env={**os.environ, "LD_PRELOAD": str(library)},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


def check(
    writer: Writer, fault: str, folder: Path, resumes: Callable[[str], bool] = lambda name: False
) -> None:
    """A writer on a disk with a `fault` says so in one line, leaves every file as it was or as it
    is to be, and nothing else but what it ``resumes`` from; once more, and all is written."""
    do = writer(_new(folder / "whole"))
    _calls().value = 0
    with _failing(folder / "whole"):
        do()
    calls, wanted = _calls().value, tree(folder / "whole")
    assert calls, "it writes nothing there"
    writer(_new(folder / "again"))()
    again = tree(folder / "again")
    assert again.keys() == wanted.keys()
    differs = {name for name in wanted if again[name] != wanted[name]}  # by the time of day
    for at in _places(calls):
        place = _new(folder / f"{fault}-{at}")
        do = writer(place)
        before = tree(place)
        with _failing(place, fault, at):
            code, said = _answered(do)
        left = tree(place)
        if fault == "short":
            assert code == 0, (at, said)
            assert _alike(left, wanted, differs), at
        elif code == 0:  # the fault met what it can do without
            assert _alike(left, wanted, differs), at
        else:
            assert code == 2
            assert re.match(f"error: ({FAULTS[fault]})", said), (at, said)
            assert said.count("\n") == 1
            assert "WMBENCH_DEBUG" not in said
            assert before.keys() <= left.keys(), at
            for name, content in left.items():
                known = (before.get(name), wanted.get(name))
                unfinished = resumes(name) or (name in differs and known[1] is not None)
                assert content in known or unfinished, (at, name, calls)
            assert _answered(do)[0] == 0
            assert _alike(tree(place), wanted, differs), at


def tree(folder: Path) -> Tree:
    """Every file below a folder; where its name stands in one, it is left out."""
    return {
        str(path.relative_to(folder)): path.read_bytes().replace(str(folder).encode(), b"")
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _alike(one: Tree, other: Tree, differs: set[str]) -> bool:
    return one.keys() == other.keys() and all(
        one[name] == other[name] for name in one if name not in differs
    )


def _new(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _places(calls: int) -> list[int]:
    step = max(1, (calls - 1) // (MOST_PLACES - 1))
    return sorted({*range(1, calls + 1, step), calls})


def _calls() -> ctypes.c_int:
    return ctypes.c_int.in_dll(ctypes.CDLL(None), "failing_disk_calls")


@contextlib.contextmanager
def _failing(folder: Path, how: str = "", at: int = 0) -> Iterator[None]:
    _calls().value = 0
    os.environ.update(FAILING_BELOW=f"{folder}/", FAILING_HOW=how, FAILING_AT=str(at))
    try:
        yield
    finally:
        os.environ["FAILING_BELOW"] = ""


def _answered(do: Callable[[], object]) -> tuple[int, str]:
    """Exit code and standard error."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = answer(lambda: (do() and 0) or 0)
    return code, "".join(line for line in said.getvalue().splitlines(True) if "error" in line)
