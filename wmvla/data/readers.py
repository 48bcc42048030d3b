"""Reader processes: what a training needs next is read while it works, and comes in order."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from wmvla.errors import UserError
from wmvla.resources import ranks_on_these_cores, usable_cores

MOST_READERS = 8
"""Of one training process."""


class _Batches(Dataset):
    """``read`` of each array of rows, by number."""

    def __init__(
        self, read: Callable[[np.ndarray], list[Tensor]], rows: Sequence[np.ndarray]
    ) -> None:
        self.read, self.rows = read, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> list[Tensor]:
        return self.read(self.rows[number])


def reader_count() -> int:
    """Reader processes of this training process: torchrun's on one machine share its cores."""
    return max(1, min(MOST_READERS, usable_cores() // ranks_on_these_cores()))


def read_ahead(
    read: Callable[[np.ndarray], list[Tensor]], rows: Sequence[np.ndarray], pinned: bool
) -> Iterator[list[Tensor]]:
    """What ``read`` gives for each of ``rows``, in order, by processes that read two batches ahead
    each; ``pinned``: in memory that an accelerator can copy from while it works.

    Non-obvious: a whole batch is one reader's work, so the training puts no pieces together.
    """
    made: DataLoader[Any] = DataLoader(
        _Batches(read, rows),
        batch_size=None,
        num_workers=reader_count(),
        pin_memory=pinned,
        worker_init_fn=leave_with_the_training,
        generator=torch.Generator(),  # never drawn from; without it torch's own would be
    )
    return _in_its_own_words(iter(made))


def _in_its_own_words(batches: Iterator[list[Tensor]]) -> Iterator[list[Tensor]]:
    """A reader's UserError, which torch hands on with the reader's traceback as its text.

    Non-obvious: it is raised where nothing holds the readers any more, so that they end before this
    process waits for them.
    """
    words = None
    try:
        yield from batches
    except UserError as error:
        words = str(error).rpartition("UserError: ")[2].strip()
    if words is not None:
        del batches
        raise UserError(words)


def leave_with_the_training(worker: int) -> None:
    """SIGTERM ends a reader at once if it is the training's, which sends one as it leaves and then
    waits. Others are not heard: a cluster signals every process of a job, and the training still
    needs its readers for a step."""
    training = os.getppid()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def wait() -> None:
        while signal.sigwaitinfo({signal.SIGTERM}).si_pid != training:
            pass
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()
