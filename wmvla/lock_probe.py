"""Whether a lock keeps other processes out, and what is known of the locks of a network's disk."""

import subprocess
import sys
from pathlib import Path

import psutil

from wmvla.errors import UserError
from wmvla.files import LOCKS_REMEDY

_TAKE = """
import fcntl, os, sys
try:
    fcntl.flock(os.open(sys.argv[1], os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    sys.exit(1)
"""
HERE_ALONE = "a lock holds on this machine alone: give no second machine work in the same run"
UNKNOWN = (
    "whether a lock holds between machines is not known: give no second machine work in the same"
    " run before you have tried it"
)
KNOWN = {
    "nfs": "a lock holds between machines if the server's lock service runs",
    "nfs4": "a lock holds between machines",
    "lustre": "a lock holds between machines if it is mounted with flock",
    "cifs": "a lock holds between machines if the server keeps byte ranges",
    "smb3": "a lock holds between machines if the server keeps byte ranges",
    "fuse.sshfs": HERE_ALONE,
    "beegfs": "a lock holds between machines only with tuneUseGlobalFileLocks = true",
    "gpfs": UNKNOWN,
}
"""What is known of `flock` by type of a network's file system."""
LOCAL_OPTIONS = frozenset({"nolock", "local_lock=all", "local_lock=flock", "localflock", "nobrl"})
"""Options of such a mount that keep its locks on this machine."""


def refuse_ignored_lock(path: Path) -> None:
    """Let a second process try the lock on ``path``, which this one holds.

    Raises:
        UserError: it was given the lock: the file system does not honour `flock`.
    """
    command = [sys.executable, "-I", "-S", "-c", _TAKE, str(path)]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if done.returncode == 0:
        raise UserError(
            f"{path}: a second process was given the lock that this one holds: its file system"
            f" ignores locks, and two runs would write over each other: {LOCKS_REMEDY}"
        )


def network_locks(directory: Path) -> str | None:
    """What is known of locks on the network's file system that ``directory`` lies on, in one
    sentence; None on any other."""
    place = directory.resolve()
    mounts = psutil.disk_partitions(all=True)
    holding = [mount for mount in mounts if place.is_relative_to(mount.mountpoint)]
    # the innermost; of several at one place the last, which hides the others
    mount = max(reversed(holding), key=lambda one: len(one.mountpoint), default=None)
    if mount is None or mount.fstype not in KNOWN:
        return None
    local = LOCAL_OPTIONS.intersection(mount.opts.split(","))
    known = f"{HERE_ALONE} ({min(local)})" if local else KNOWN[mount.fstype]
    return f"{directory} lies on {mount.fstype}, mounted at {mount.mountpoint}: {known}."
