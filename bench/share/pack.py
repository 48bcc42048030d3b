"""A run directory as one file that is the same wherever it is packed, and its safe unpacking.

Without weights unless asked for, and never with what names a machine or a user: logs, jobs and
scripts. `wmbench verify` works on the file; sums of what was left out are in ``manifest.json``.
"""

import contextlib
import gzip
import io
import shutil
import subprocess
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from bench.plan.document import Plan
from bench.plan.files import load_plan
from bench.record.privacy import anonymous
from bench.verify.manifest import BESIDE, files_of
from bench.verify.verify import Verified, verify
from wmvla.errors import UserError, answer_of_system, refuse_failing_disk
from wmvla.files import rename_durably

SUFFIXES = (".tar.gz", ".tar.zst")
LOCAL = ("jobs/", "logs/", "slurm/")
"""What is of the machine, and of nothing that a verdict rests on."""
WEIGHTS = "checkpoints/"
TEXT = (".json", ".jsonl", ".html", ".md")
GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"

NO_NAME_NO_TIME = b"\0\0\0\0\0\x02\xff"
"""What stands in a gzip header without name and time, at level 9."""


def pack(
    run_dir: Path, out: Path | None = None, weights: bool = False, names: bool = False
) -> Path:
    """Pack a run directory into `out` (``<run name>.tar.gz`` here), and give that path. `weights`:
    with its checkpoints. `names`: although a file names this user or this host. UserError if it is
    no run directory, a file names somebody, or `out` cannot be written."""
    plan = load_plan(run_dir)
    out = Path(f"{plan.run_name}{SUFFIXES[0]}") if out is None else out
    if not out.name.endswith(SUFFIXES):
        raise UserError(f"-o {out}: must end in {' or '.join(SUFFIXES)}")
    files = _chosen(run_dir, weights)
    if not names:
        _refuse_names(files)
    partial = out.with_name(f".{out.name}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)  # the zstd of a killed one may still write into it
        with partial.open("wb") as raw, _compressed(raw, out.name) as stream:
            _write(stream, plan, files)
        rename_durably(partial, out)
    except OSError as error:
        refuse_failing_disk(error)
        raise UserError(f"{out}: cannot be written: {answer_of_system(error)}") from None
    finally:
        partial.unlink(missing_ok=True)
    return out


def _chosen(run_dir: Path, weights: bool) -> dict[str, Path]:
    left_out = LOCAL if weights else (*LOCAL, WEIGHTS)
    files = files_of(run_dir)
    files = {name: path for name, path in files.items() if not name.startswith(left_out)}
    files |= {name: run_dir / name for name in BESIDE if (run_dir / name).is_file()}
    return dict(sorted(files.items()))


def _refuse_names(files: dict[str, Path]) -> None:
    """UserError naming the first line that says who or where somebody is. Non-obvious: it cannot be
    taken out, since a changed file no longer has the sum that was recorded."""
    for name, path in files.items():
        if not name.endswith(TEXT):
            continue
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        for number, line in enumerate(lines, start=1):
            if anonymous(line) != line:
                raise UserError(
                    f"{path}: line {number} has the name of this user or this host; --with-names "
                    "packs it anyway"
                )


def _write(stream: IO[bytes], plan: Plan, files: dict[str, Path]) -> None:
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for name, path in files.items():
            with _opened(path) as file:
                member = tarfile.TarInfo(f"{plan.run_name}/{name}")
                member.size, member.mode, member.mtime = path.stat().st_size, 0o644, 0
                archive.addfile(member, file)


def _opened(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {answer_of_system(error)}") from None


@contextlib.contextmanager
def _compressed(raw: IO[bytes], name: str) -> Iterator[IO[bytes]]:
    if name.endswith(".gz"):
        with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=9) as stream:
            yield stream  # type: ignore[misc]
        return
    command = [_zstd(), "-q", "-19", "-T1", "-c"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=raw, stderr=pipe) as child:
        assert child.stdin is not None
        assert child.stderr is not None
        try:
            with child.stdin:
                yield child.stdin
        except BrokenPipeError:  # it has left, and says why
            child.wait()
        said = child.stderr.read().decode(errors="replace")
        if child.wait() != 0:
            raise OSError(" ".join(said.split()) or f"zstd exited with {child.returncode}")


def _zstd() -> str:
    found = shutil.which("zstd")
    if found is None:
        raise UserError("zstd is not installed: install it, or use .tar.gz")
    return found


def verify_packed(packed: Path, seal: str | None = None, templates: Path | None = None) -> Verified:
    """As `verify`, of what `wmbench pack` made. UserError if it is damaged, or was not packed here.

    Non-obvious: it is unpacked two levels deep: a run directory lies beside a cache two levels up.
    """
    with tempfile.TemporaryDirectory(prefix="wmbench-unpacked-") as folder:
        results = Path(folder) / "results"
        results.mkdir()
        return verify(unpack(packed, results), seal, templates)


def unpack(packed: Path, folder: Path) -> Path:
    """Unpack into an empty `folder`, and give the run directory in it. Only plain files below one
    folder are taken; links, devices, paths that lead out, and more than the disk can take are
    refused. UserError also if damaged, or not by `pack`."""
    try:
        with packed.open("rb", buffering=0) as raw, _decompressed(raw, packed) as stream:
            tops = _extract(stream, packed, folder)
            # To its end: there the sum is compared.
            if any(any(block) for block in iter(lambda: stream.read(1 << 20), b"")):
                raise UserError(f"{packed}: damaged: there are more bytes after its end")
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        refuse_failing_disk(error)
        if isinstance(error, OSError) and error.filename:
            raise UserError(f"{error.filename}: {answer_of_system(error)}") from None
        raise UserError(f"{packed}: damaged, or not a packed run: {error}") from None
    if len(tops) != 1:
        raise UserError(f"{packed}: holds {len(tops)} folders, a packed run has one")
    return folder / tops.pop()


def _extract(stream: IO[bytes], packed: Path, folder: Path) -> set[str]:
    """Write the members; the names of the folders at the top."""
    tops: set[str] = set()
    seen: set[str] = set()
    room = shutil.disk_usage(folder).free
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            parts = member.name.split("/")
            safe = len(parts) > 1 and not {"", ".", ".."} & {*parts} and "\0" not in member.name
            if not (member.isfile() and safe):
                raise UserError(
                    f"{packed}: refused: {member.name!r} is not a plain file inside of a folder"
                )
            if member.name in seen:
                raise UserError(f"{packed}: refused: {member.name!r} is in it twice")
            room -= member.size
            if room < 0:
                raise UserError(
                    f"{packed}: refused: unpacked, it does not fit on the disk of {folder}"
                )
            seen.add(member.name)
            tops.add(parts[0])
            archive.extract(member, folder, filter="data", set_attrs=False)
    return tops


@contextlib.contextmanager
def _decompressed(raw: IO[bytes], packed: Path) -> Iterator[IO[bytes]]:
    magic = raw.read(10)
    raw.seek(0)
    if magic.startswith(GZIP):
        if magic[3:] != NO_NAME_NO_TIME:
            raise UserError(
                f"{packed}: damaged, or not packed by wmbench: its gzip header is different"
            )
        with gzip.GzipFile(fileobj=raw, mode="rb") as stream:
            yield io.BufferedReader(stream)
        return
    if not magic.startswith(ZSTD):
        raise UserError(f"{packed}: not a packed run: neither gzip nor zstd")
    command = [_zstd(), "-q", "-d", "-c"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=raw, stdout=pipe, stderr=pipe) as child:
        assert child.stdout is not None
        try:
            yield child.stdout
        finally:
            child.stdout.close()
        lines = child.stderr.read().decode(errors="replace").split("\n") if child.stderr else []
        reasons = [line for line in lines if line.strip()] or ["zstd failed"]
        if child.wait() != 0:
            raise UserError(f"{packed}: damaged: {reasons[-1].strip()}")
