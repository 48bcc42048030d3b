"""Which code a result is of: one hash over the sources that can change a result.

Counted are the Python and TOML files below ``bench``, ``suites`` and ``wmvla``, with their paths,
and ``uv.lock``. It is read from the files and not from git: an image has no repository, an
uncommitted change counts, and a commit of documentation does not. A wheel has no ``uv.lock``.

Not counted is what cannot change an episode or a verdict: tests, documentation, schemas, templates
and bytecode, the folders of `APART`, and in the files that count comments, layout, docstrings, the
sentences of exceptions, and what suites say of themselves. Who counts too much asks for a control
that was not needed; who counts too little believes one that is of other code. So a module counts
unless its whole folder is apart.
"""

import ast
import functools
import hashlib
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.host.folders import CODE, is_checkout

FOLDERS = ("bench", "suites", "wmvla")
SUFFIXES = (".py", ".toml")
LOCK = "uv.lock"
APART = (
    "bench/calibration",
    "bench/compare",
    "bench/doctor",
    "bench/report",
    "bench/share",
    "bench/verify",
    "bench/wording",
    "suites/throughput",
)
"""Simulated experiments, comparing, drawing, checking and describing what was run, and plain
benchmarks: no run of a suite asks them anything before its verdict is known."""
SAYS_ONLY = frozenset({"title", "says", "question", "summary", "cannot_say"})
"""Keys of suites that are text for people."""


@functools.cache
def code_sha256(root: Path = CODE) -> str:
    """SHA-256 over paths and contents below `root`; takes half a second. OSError: unreadable."""
    digest = hashlib.sha256()
    for path in counted_sources(root):
        content = hashlib.sha256(_what_counts(root / path)).hexdigest()
        digest.update(f"{content}  {path}\n".encode())
    return digest.hexdigest()


def counted_sources(root: Path = CODE) -> Iterator[str]:
    """The files that count, as paths relative to `root` with ``/``, in the order of their names."""
    found = [
        path
        for folder in FOLDERS
        for path in (root / folder).rglob("*")
        if path.suffix in SUFFIXES and path.is_file()
    ]
    if not found:
        raise FileNotFoundError(f"{root}: no sources")
    names = (path.relative_to(root).as_posix() for path in found)
    yield from sorted(
        name for name in names if not name.startswith(tuple(f"{folder}/" for folder in APART))
    )
    if is_checkout(root):
        yield LOCK


def _what_counts(path: Path) -> bytes:
    """The file's content in a form that is the same for all ways to write it, if it can be read."""
    content = path.read_bytes()
    try:
        if path.suffix == ".py":
            tree = ast.parse(content)
            _drop_sentences(tree)
            return ast.dump(tree).encode()
        if path.suffix == ".toml":
            return json.dumps(_without_text(tomllib.loads(content.decode())), default=str).encode()
    except (SyntaxError, ValueError):
        pass
    return content


def _drop_sentences(node: ast.AST) -> None:
    """Take docstrings, also those of attributes, and the sentences of exceptions out of a tree."""
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        node.exc.args = [each for each in node.exc.args if not _is_sentence(each)]
    for name in ("body", "orelse", "finalbody", "handlers", "cases"):
        inner = getattr(node, name, None)
        if isinstance(inner, list):
            inner[:] = [
                each
                for each in inner
                if not (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))
            ]
            for each in inner:
                _drop_sentences(each)


def _is_sentence(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def _without_text(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_text(one) for key, one in value.items() if key not in SAYS_ONLY}
    return [_without_text(one) for one in value] if isinstance(value, list) else value
