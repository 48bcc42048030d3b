"""SIGTERM takes a machine back: the training ends after a step, with a checkpoint of it."""

import signal
from collections.abc import Callable
from types import FrameType

import torch
from accelerate import Accelerator

STOPPED = 75
"""Exit code of a training that was stopped and can be continued: EX_TEMPFAIL of sysexits.h."""


class Stopped(Exception):  # noqa: N818 - not an error
    """The training was asked to stop; its checkpoint is written."""


def catch_sigterm() -> Callable[[], bool]:
    """From now on SIGTERM is only noted; the function that is returned says whether it came."""
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)

    signal.signal(signal.SIGTERM, note)
    return lambda: bool(came)


def agreement(accelerator: Accelerator) -> Callable[[bool], bool]:
    """Asked by all processes after each step: whether any of them says yes.

    Non-obvious: the signal reaches the processes between different steps, and one that stopped
    alone would leave the others waiting for it. Their question goes from host to host, so that no
    accelerator is waited for.
    """
    if accelerator.num_processes == 1:
        return lambda asked: asked
    on_cpu = accelerator.device.type == "cpu"
    group = None if on_cpu else torch.distributed.new_group(backend="gloo")

    def any_of_them(asked: bool) -> bool:
        answer = torch.tensor(int(asked))
        torch.distributed.all_reduce(answer, torch.distributed.ReduceOp.MAX, group=group)
        return bool(answer)

    return any_of_them
