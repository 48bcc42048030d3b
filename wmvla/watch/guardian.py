"""A small process beside each process of a training: ends it with those for whom it works."""

import os
import signal
import time
from pathlib import Path

import psutil

from wmvla.processes import die_with_parent
from wmvla.watch.children import STARTER, end, lives

POLL = 0.5


def guard(life: Path) -> None:
    """Fork a guardian of this process: it ends this one (``wmvla.watch.children.end``) as soon as
    its parent or the process that started the whole work is gone.

    Call it first of all: a fork must not copy threads, and what is imported later costs the
    guardian no memory.

    Non-obvious: a thread could not do this. A process that hangs in C may hold Python's lock, and
    SIGTERM is only noted by it.
    """
    me = psutil.Process()
    pids = {os.getppid(), int(os.environ.get(STARTER, os.getppid()))}
    if os.fork():
        return
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    die_with_parent(signal.SIGKILL)
    try:
        masters = [psutil.Process(pid) for pid in pids]
        while os.getppid() == me.pid and all(map(lives, masters)):
            time.sleep(POLL)
    except psutil.NoSuchProcess:
        pass
    if os.getppid() == me.pid:
        end(me, life)
    os._exit(0)
