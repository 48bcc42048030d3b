"""``python -m wmvla.train.main JOB.json``, alone or under torchrun or srun: run one training job."""

import sys
from pathlib import Path

import torch

from wmvla.errors import UserError, disk_full_is_a_user_error
from wmvla.train.preemption import STOPPED, Stopped, catch_sigterm
from wmvla.train.ranks import read_job


def main() -> int:
    """Exit code 0 when the final checkpoint exists, 2 for bad input, ``STOPPED`` (75) after SIGTERM."""
    asked_to_stop = catch_sigterm()
    torch.set_num_threads(1)
    from wmvla.train.loop import train

    code = 0
    try:
        with disk_full_is_a_user_error():
            train(read_job(Path(sys.argv[1])), asked_to_stop)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Stopped as stopped:
        print(f"stopped: {stopped}: continue with the same command.", file=sys.stderr)
        code = STOPPED
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    return code


if __name__ == "__main__":
    sys.exit(main())
