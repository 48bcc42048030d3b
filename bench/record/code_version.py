"""Which code a result is of: one hash over the sources that can change a result.

Counted are the Python and TOML files below ``bench``, ``suites`` and ``wmvla``, with their paths,
and ``uv.lock``. It is read from the files and not from git: an image has no repository, an
uncommitted change counts, and a commit of documentation does not. A wheel has no ``uv.lock``.

Not counted is what cannot change an episode or a verdict: tests, documentation, schemas, templates
and bytecode, and the folders of `APART`. Who counts too much asks for a control that was not
needed; who counts too little believes one that is of other code. So a module counts unless its
whole folder is apart.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from bench.host.folders import CODE, is_checkout

FOLDERS = ("bench", "suites", "wmvla")
SUFFIXES = (".py", ".toml")
LOCK = "uv.lock"
APART = ("bench/calibration", "bench/history", "bench/report", "bench/verify", "suites/throughput")
"""Simulated experiments, the drawing and checking of pages, and plain benchmarks: no run of a suite
asks them anything before its verdict is known."""


def code_sha256(root: Path = CODE) -> str:
    """SHA-256 in hex over paths and contents below `root`. Takes 20 ms. OSError where a source
    cannot be read."""
    digest = hashlib.sha256()
    for path in counted_sources(root):
        content = hashlib.sha256((root / path).read_bytes()).hexdigest()
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
