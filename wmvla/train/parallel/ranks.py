"""The processes of a training that ``srun`` started: who each is, and what rank 0 shares.

Those of torchrun, and one alone, need nothing of this.
"""

import functools
import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from wmvla.errors import UserError
from wmvla.processes import by_srun, srun_rank, srun_ranks
from wmvla.train.job import TrainingJob

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch.distributed import TCPStore

PATIENCE = timedelta(minutes=15)
"""How long a process waits for the others to begin: nodes may fetch a container first."""
JOB = "job"


def read_job(path: Path) -> TrainingJob:
    """The job in ``path``. Of srun's processes rank 0 alone reads it, and sends it to the others;
    all get torch's variables. UserError: it is not set where rank 0 is, or it did not begin.

    Non-obvious: they begin at the same time, but rank 0 with what comes before a training. Until it
    has written the job there is none in ``path``, or that of an earlier attempt; and on a network
    file system others see a new file later.
    """
    if not by_srun():
        return TrainingJob.read(path)
    rank, ranks = srun_rank(), srun_ranks()
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        if not os.environ.get(name):
            raise UserError(
                f"{name} is not set; it says where rank 0 of {ranks} is: let wmbench submit write "
                "the script."
            )
    own = path.read_text() if rank == 0 else None
    try:
        store = _store(rank, ranks)
        if own is not None:
            store.set(JOB, own)
        text = store.get(JOB).decode()
    except RuntimeError as error:  # torch's DistError
        reason = str(error).splitlines()[0]
        raise UserError(
            f"rank {rank} of {ranks} did not reach rank 0 at {os.environ['MASTER_ADDR']}:"
            f"{os.environ['MASTER_PORT']} ({reason}): read what rank 0 printed."
        ) from error
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(ranks), LOCAL_RANK=os.environ["SLURM_LOCALID"])
    return TrainingJob.parse(text)


def as_rank_0_sees(step: int, accelerator: "Accelerator") -> int:
    """Rank 0's `step`, in all processes.

    Non-obvious: of its newest checkpoint. On a network file system another node may still see an
    older one, and would train on other batches than the rest.
    """
    if accelerator.num_processes == 1:
        return step
    from accelerate.utils import broadcast_object_list

    seen: list[int] = broadcast_object_list([step])
    return seen[0]


@functools.cache
def _store(rank: int, ranks: int) -> "TCPStore":
    """Rank 0's key-value store.

    Non-obvious: kept for good, and multi-tenant: torch's process group then finds rank 0's server
    at work and uses the same.
    """
    from torch.distributed import TCPStore

    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    return TCPStore(
        host, port, ranks, rank == 0, PATIENCE, wait_for_workers=False, multi_tenant=True
    )
