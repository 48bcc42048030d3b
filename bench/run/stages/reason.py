"""Why a child process failed, as its log says it."""

import re
from pathlib import Path

from bench.run.stages.watched import latest_attempt

_TRACEBACK = "Traceback (most recent call last)"
_ERROR = re.compile(r"(?:\[rank\d+\]: ?)?((?:[A-Za-z_]\w*\.)*\w*(?:Error|Exception)\b(?:: .*)?)")
_LAUNCHER = "torch.distributed.elastic"


def said(log: Path, what: str) -> str:
    """The first line of the last attempt that begins with ``what``, without it; empty if none does.
    Non-obvious: all processes of a training say the same; its launcher's exit code says nothing."""
    lines = latest_attempt(log).splitlines()
    return next((line.removeprefix(what) for line in lines if line.startswith(what)), "")


def has_traceback(log: Path) -> bool:
    """Whether a process of the last attempt ended with an exception."""
    return _TRACEBACK in latest_attempt(log)


def reason(log: Path) -> str:
    """The error that the last attempt failed with, in one line.

    Non-obvious: it is the first one of all tracebacks. The other processes fail after it, because
    one is gone, and last of all the launcher, whose own error says only that; and an error that
    came of another one follows it. Where a process left no traceback its last line is all there is.
    """
    _, *lines = latest_attempt(log).splitlines() or [""]
    begin = next((at for at, line in enumerate(lines) if _TRACEBACK in line), 0)
    errors = [found[1] for line in lines[begin:] if (found := _ERROR.fullmatch(line))]
    own = [error for error in errors if not error.startswith(_LAUNCHER)]
    last = [line.strip() for line in lines if line.strip()][-1:]
    return (own or errors or last or ["no reason given"])[0]
