"""Damage to a user's files, what a command says of it, and the page that lists both."""

import contextlib
import ctypes
import io
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "damages.md"
REWRITE = bool(os.environ.get("REWRITE_DAMAGES"))
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345\n"
MARKDOWN = str.maketrans(
    {"`": "'", "|": "/", "<": "&lt;", ">": "&gt;", "*": r"\*", "[": r"\[", "]": r"\]", "\\": "/"}
)
"""What a table would take for more than a letter, and what stands for it."""
SHOWN = 100
"""Letters of a line that the page shows."""


def missing(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def pointer(path: Path) -> None:
    path.write_text(POINTER)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def unreadable(path: Path) -> None:
    path.chmod(0)


def other_bytes(path: Path) -> None:
    path.write_bytes(bytes(range(255, 127, -1)) * 3)


def json_list(path: Path) -> None:
    path.write_text("[]\n")


def json_number(path: Path) -> None:
    path.write_text("NaN\n")


OF_FILES = {
    "missing": missing,
    "empty": empty,
    "half of it": half,
    "Git LFS pointer": pointer,
    "a folder": folder,
    "no permission": unreadable,
    "other bytes": other_bytes,
}
OF_JSON = {**OF_FILES, "a list": json_list, "NaN": json_number}


@contextlib.contextmanager
def permissions_count() -> Iterator[None]:
    """Inside the block root, too, may read only what a file's mode allows.

    Source: capget(2); CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH are bits 1 and 2.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    held = (ctypes.c_uint32 * 6)()
    assert libc.capget(header, held) == 0
    fewer = (ctypes.c_uint32 * 6)(*held)
    fewer[0] &= ~0b110
    assert libc.capset(header, fewer) == 0
    try:
        yield
    finally:
        assert libc.capset(header, held) == 0


def said_by(main: Callable[[], object]) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with permissions_count(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main()
        except SystemExit as ended:
            code = ended.code
    return int(code or 0), out.getvalue(), err.getvalue()


def refusal(code: int, err: str, names: Iterable[str]) -> str:
    """The one line of a refusal, which names one of ``names``."""
    lines = err.splitlines()
    assert code == 2, f"exit code {code}: {err[-2000:]}"
    assert "Traceback" not in err, err
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:], err
    assert any(name in lines[-1] for name in names), f"{lines[-1]} names none of {names}"
    return lines[-1].removeprefix("error: ")


def cell(text: str, places: Mapping[str, str]) -> str:
    """``text`` with short paths, cut, safe in a table of Markdown. How JSON breaks off, and where,
    hangs on the numbers in it, and is left out."""
    for path, name in sorted(places.items(), key=lambda item: -len(item[0])):
        text = text.replace(path, name)
    text = re.sub(r"[A-Z][^(:]*: line \d+ column \d+( \(char \d+\))?", "no JSON", text)
    text = " ".join(text.split())
    return (text if len(text) <= SHOWN else f"{text[:SHOWN].rstrip()} ...").translate(MARKDOWN)


def row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


class Section:
    """A heading of the page with its tables: rows that were found, compared or written."""

    def __init__(self, title: str) -> None:
        self.title, self.found = title, dict[str, list[str]]()

    def lines(self) -> list[str]:
        """The section as it is committed."""
        text = PAGE.read_text() if PAGE.exists() else ""
        _, _, rest = text.partition(f"\n## {self.title}\n")
        return rest.partition("\n## ")[0].splitlines()

    def rows(self) -> list[str]:
        """Its rows as they are committed, without headers and rules."""
        lines = [line for line in self.lines() if line.startswith("| ")]
        return [line for line in lines if line.split("|")[2].strip() != "damage"]

    def add(self, table: str, cells: list[str]) -> None:
        """A row of ``table``, whose header that is; it must be on the page."""
        self.found.setdefault(table, []).append(row(cells))
        if not REWRITE:
            assert row(cells) in self.lines(), f"docs/damages.md must have the row:\n{row(cells)}"

    def write(self) -> None:
        """Put what was found in the place of the committed rows about the same damages."""
        tables, header = dict[str, dict[str, str]](), ""
        for line in self.lines():
            header = "" if not line else header or line
            if line.startswith("| ") and line != header:
                tables.setdefault(header, {})[about(line)] = line
        for table, rows in self.found.items():
            tables.setdefault(table, {}).update({about(line): line for line in rows})
        parts = [
            "\n".join([table, re.sub(r"[^|]+", "---", table), *sorted(rows.values())])
            for table, rows in tables.items()
        ]
        head, _, rest = PAGE.read_text().partition(f"\n## {self.title}\n")
        after = rest.partition("\n## ")[2]
        made = f"{head.rstrip()}\n\n## {self.title}\n\n" + "\n\n".join(parts) + "\n"
        PAGE.write_text(made + (f"\n## {after}" if after else ""))


def about(line: str) -> str:
    """The file and the damage that a row is about."""
    return "|".join(line.split("|")[1:3])


def copied(source: Path, target: Path) -> Path:
    shutil.rmtree(target, ignore_errors=True)
    return Path(shutil.copytree(source, target))
