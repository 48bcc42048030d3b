"""``python -m wmvla.train.main JOB.json``, alone or under torchrun or srun: run one training
job."""

import os
import sys
import traceback
from pathlib import Path
from typing import NoReturn

import torch

from wmvla.errors import UserError, disk_full_is_a_user_error
from wmvla.train.parallel.preemption import STOPPED, Stopped, catch_sigterm
from wmvla.train.parallel.ranks import read_job


def main() -> int:
    """Exit code 0 when the final checkpoint exists, 2 for bad input, ``STOPPED`` (75) after
    SIGTERM."""
    asked_to_stop = catch_sigterm()
    torch.set_num_threads(1)
    from wmvla.train.loop import train

    try:
        with disk_full_is_a_user_error():
            train(read_job(Path(sys.argv[1])), asked_to_stop)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Stopped as stopped:
        print(f"stopped: {stopped}: continue with the same command.", file=sys.stderr)
        return STOPPED
    return 0


def leave(code: int) -> NoReturn:
    """End this process at once, without taking its objects apart.

    Non-obvious: that may hang for ever. Who frees the last of a DDP model waits for gloo's threads
    with Python's lock in hand, and one of these may wait for that lock to free what its last
    all-reduce was given. All that is to last is on the disk.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    try:
        code = main()
    except Exception:  # Python would tell it too, but only after what may hang
        traceback.print_exc()
        code = 1
    leave(code)
