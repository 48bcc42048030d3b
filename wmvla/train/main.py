"""``python -m wmvla.train.main JOB.json``, alone or under torchrun or srun: run one training
job."""

import os
import sys
import traceback
from pathlib import Path
from typing import NoReturn

from wmvla.errors import answer
from wmvla.watch.guardian import guard
from wmvla.watch.life import life_path
from wmvla.watch.stacks import dump_on_request


def main(path: Path) -> int:
    """Exit code 0 when the final checkpoint exists, 2 for bad input, ``STOPPED`` (75) after
    SIGTERM."""
    from wmvla.train.parallel.preemption import STOPPED, Stopped, catch_sigterm

    asked_to_stop = catch_sigterm()
    import torch

    torch.set_num_threads(1)
    from wmvla.train.life import Life
    from wmvla.train.loop import train
    from wmvla.train.only_one import only_one
    from wmvla.train.parallel.ranks import read_job

    def run() -> int:
        job = read_job(path)
        if int(os.environ.get("RANK", "0")):
            train(job, asked_to_stop)
            return 0
        life = Life(life_path(path))
        with only_one(Path(job.checkpoints), life, asked_to_stop) as alone:
            if not alone:
                raise Stopped(f"{job.case} was asked to stop before it began")
            train(job, asked_to_stop, life)
        return 0

    try:
        return answer(run)
    except Stopped as stopped:
        print(f"stopped: {stopped}: continue with the same command.", file=sys.stderr)
        return STOPPED


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
    guard(life_path(Path(sys.argv[1])))
    dump_on_request()
    try:
        code = main(Path(sys.argv[1]))
    except Exception:  # Python would tell it too, but only after what may hang
        traceback.print_exc()
        code = 1
    leave(code)
