"""Writing so that a killed process leaves either the old state or the new one, never half of it."""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wmvla.errors import UserError, answer_of_system, cause, refuse_failing_disk

NO_LOCKS = frozenset((errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF, errno.ENOLCK))
"""What `flock` answers where there are none."""
LOCKS_REMEDY = (
    "put results/ and cache/ on a local disk, or ask for a mount with locks (Lustre: -o flock; NFS:"
    " without nolock)."
)
LFS_POINTER = b"version https://git-lfs.github.com/spec/"


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Fill the yielded folder; it takes the name ``folder`` when the block ends without an error.

    Non-obvious: when two processes make the same folder, the first to finish wins and the other's
    copy is dropped; so the content must be a function of the name.
    """
    make_folder(folder.parent)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    unfinished.chmod(0o755)
    try:
        with _named(folder):
            yield unfinished
        if not folder.exists():
            try:
                rename_durably(unfinished, folder)
            except OSError as error:  # the other took the name while this copy went to the disk
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` to ``path`` as JSON, atomically and durably. UserError: it cannot be."""
    write_file(path, (json.dumps(content, indent=1) + "\n").encode())


def write_file(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path``, atomically and durably. UserError: it cannot be."""
    partial = None
    try:
        make_folder(path.parent)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        partial = Path(name)
        with _named(path), os.fdopen(descriptor, "wb") as file:
            file.write(content)
        partial.chmod(0o644)
        rename_durably(partial, path)
    except BaseException as error:
        if partial:
            partial.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        refuse_failing_disk(error)
        raise UserError(f"{path}: cannot be written: {answer_of_system(error)}") from error


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file's content, 64 hex digits. OSError if it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_at(descriptor: int, content: bytes | memoryview, offset: int) -> None:
    """All of ``content``: one write in practice; a disk that fills up takes a part and refuses the
    rest."""
    while content:
        written = os.pwrite(descriptor, content, offset)
        content, offset = content[written:], offset + written


def rename_durably(finished: Path, path: Path) -> None:
    """Give a finished file or folder the name ``path``: no crash leaves the name without what it
    stands for, or takes it back when this has returned."""
    sync_tree(finished)
    finished.replace(path)
    sync_folder(path.parent)


def make_folder(folder: Path) -> None:
    """Make ``folder`` and those above it durably, unless it is there."""
    if folder.is_dir():
        return
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in missing:
        sync_folder(each.parent)


def sync_tree(folder: Path) -> None:
    """Make all files in ``folder``, and their names, durable."""
    for path in [folder, *folder.rglob("*")]:
        sync_folder(path)


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable, as they are now; of a file its content."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with _named(folder):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """An error of the disk inside the block says where, as those of open files do not."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file that came from elsewhere. UserError: there is none."""
    try:
        found = json.loads(path.read_text(), object_pairs_hook=each_key_once)
    except (OSError, ValueError) as error:
        raise UserError(why_unreadable(path, error)) from error
    if not isinstance(found, dict):
        raise UserError(f"{path} is not a JSON object: fetch it again.")
    return found


def each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON. ValueError: a key stands twice, of which readers take the last."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key '{twice}' appears twice in one object")
    return found


def why_unreadable(path: Path, error: Exception) -> str:
    """One sentence about a file that is there and cannot be read: a Git LFS pointer is called one.

    Args:
        error: what its reader raised.
    """
    try:
        with path.open("rb") as file:
            beginning = file.read(len(LFS_POINTER))
    except OSError as ours:  # safetensors says that a file is missing which may not be read
        beginning, error = None, ours
    if beginning == LFS_POINTER:
        return f"{path} is a Git LFS pointer, not the file itself: run `git lfs pull` there."
    reason = "it is empty" if beginning == b"" else cause(error)
    remedy = "" if isinstance(error, PermissionError) else ": fetch it again"
    return f"{path} cannot be read ({reason}){remedy}."


def refuse_no_locks(path: Path, error: OSError) -> None:
    """Say what to do where the file system refuses every lock, as Lustre and some network mounts
    do.

    Raises:
        UserError: for such an ``error``.
    """
    if error.errno in NO_LOCKS:
        raise UserError(
            f"{path}: its file system locks no files ({os.strerror(error.errno)}), and without"
            f" locks two runs would write over each other: {LOCKS_REMEDY}"
        ) from error


@contextmanager
def temporary_files_removed() -> Iterator[None]:
    """What the block leaves where Python puts temporary files is removed when it ends.

    Non-obvious: other threads' files too, so it is no place for long work.
    """
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder
        try:
            yield
        finally:
            tempfile.tempdir = before
