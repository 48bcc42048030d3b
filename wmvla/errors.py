"""Which exceptions mean "the user can repair this", and how a command says so."""

import errno
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LIBRARIES = frozenset(
    (
        "PIL", "av", "datasets", "diffusers", "draccus", "fsspec", "httpx", "huggingface_hub",
        "lerobot", "libero", "mujoco", "pandas", "peft", "pyarrow", "robosuite", "safetensors",
        "safetensors_rust", "tokenizers", "transformers",
    )
)  # fmt: skip
"""What reads the user's files, and asks the network, on our behalf."""
OURS = frozenset({"wmvla", "bench", "suites"})
FULL = (errno.ENOSPC, errno.EDQUOT)
REMEDIES = {
    errno.EACCES: "its owner (ls -l shows whose it is) can change that with chmod",
    errno.EISDIR: "put the file in its place",
}
"""What to do about an answer of the system, whatever the file is."""


class UserError(ValueError):
    """Bad usage or input: one sentence that names the file, the key and the fix.

    Every command line prints it as a single line and exits 2, without a traceback.
    """


def answer(command: Callable[[], int]) -> int:
    """The exit code of a command: 2 after one line on stderr for what the user can repair.

    ``WMBENCH_DEBUG=1`` shows the traceback above that line.
    """
    try:
        with library_errors_are_user_errors():
            return command()
    except UserError as error:
        if os.environ.get("WMBENCH_DEBUG", "") not in ("", "0"):
            traceback.print_exc()
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


@contextmanager
def library_errors_are_user_errors() -> Iterator[None]:
    """What a library or the disk raises inside the block, whatever it is, becomes one sentence with
    its innermost cause; an error of our own code passes."""
    try:
        with disk_errors_are_user_errors():
            yield
    except Exception as error:
        if isinstance(error, UserError) or not _is_of_a_library(error):
            raise
        raise UserError(
            f"{cause(error)} (WMBENCH_DEBUG=1 before the command shows where that was found)"
        ) from error


@contextmanager
def disk_errors_are_user_errors() -> Iterator[None]:
    """An error of a full or failing disk inside the block becomes one sentence; every other error
    passes."""
    try:
        yield
    except Exception as error:
        refuse_failing_disk(error)
        raise


def refuse_failing_disk(error: Exception) -> None:
    """Say what to do about a disk that is full, or that reports an input/output error.

    Non-obvious: safetensors says either in the text of an error of its own, not as an ``OSError``.

    Raises:
        UserError: for such an ``error``, or one that came from such a one.
    """
    links = chain(error)
    if any(isinstance(link, UserError) for link in links):
        return
    for link in links:
        number, at = None, ""
        if isinstance(link, OSError):
            number, at = link.errno, f" at {link.filename}" if link.filename else ""
        if number in FULL or os.strerror(errno.ENOSPC) in str(link):
            raise UserError(
                f"The disk is full{at}: nothing that was finished is lost; free some space and give"
                " the same command again."
            ) from error
        if number == errno.EIO or os.strerror(errno.EIO) in str(link):
            raise UserError(
                f"The disk{at} reports an input/output error: nothing that was finished is lost;"
                " see what dmesg says of it, repair it or use another one, and give the same"
                " command again."
            ) from error


def cause(error: BaseException) -> str:
    """The innermost cause of ``error`` in one line: our own words for it where there are some."""
    links = chain(error)
    for link in links:
        if isinstance(link, UserError):
            return " ".join(str(link).split())
    innermost = ([link for link in links if not isinstance(link, KeyError)] or links)[-1]
    if isinstance(innermost, OSError) and innermost.filename and innermost.strerror:
        return f"{innermost.filename2 or innermost.filename}: {answer_of_system(innermost)}"
    said = " ".join(str(innermost).split())
    return said if " " in said else f"{type(innermost).__name__} {said}".strip()


def answer_of_system(error: OSError) -> str:
    """What the system says of a file, and what to do about it if that is in ``REMEDIES``."""
    said, remedy = error.strerror or str(error), REMEDIES.get(error.errno or 0)
    return f"{said}; {remedy}" if remedy else said


def chain(error: BaseException) -> list[BaseException]:
    """``error`` and what it came from, the innermost last; without what a library hides by ``raise
    ... from None``."""
    links, link = [error], error
    while deeper := link.__cause__ or (None if link.__suppress_context__ else link.__context__):
        links.append(link := deeper)
    return links


def modules_of(error: BaseException) -> list[str]:
    """The modules that an error came through, the one that raised it last."""
    frames = traceback.walk_tb(error.__traceback__)
    return [frame.f_globals.get("__name__", "") for frame, _ in frames]


def _is_of_a_library(error: BaseException) -> bool:
    """Whether the disk, or a library that our code called, raised ``error`` or what it came from;
    what torch raises inside one is no fault of a file."""
    for link in chain(error):
        if isinstance(link, OSError) or type(link).__module__.partition(".")[0] in LIBRARIES:
            return True
        tops = [name.partition(".")[0] for name in modules_of(link)]
        while tops and tops[-1] not in LIBRARIES | OURS:
            if tops.pop() == "torch":
                return False
        if tops and tops[-1] in LIBRARIES:
            return True
    return False
