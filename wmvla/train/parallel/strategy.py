"""Strategies: what the processes of one training run share, and what each of them holds whole.

``ddp``: nothing is shared; one process alone is its simplest case. ``zero1``, ``zero2``, ``zero3``:
DeepSpeed shares the optimizer's state, the gradients too, the weights too. ``fsdp``: torch shares
all three.

Losses do not depend on the strategy, and neither do checkpoints: any strategy and any number of
processes continues one.
"""

from accelerate import Accelerator
from lerobot.policies.pretrained import PreTrainedPolicy

from wmvla.errors import UserError
from wmvla.train.job import TrainingJob
from wmvla.train.parallel.fsdp import Fsdp
from wmvla.train.parallel.replicated import Replicated
from wmvla.train.parallel.zero import Zero
from wmvla.train.prepared import Prepared

ZERO_STAGES = {"zero1": 1, "zero2": 2, "zero3": 3}
STRATEGIES = ("ddp", *ZERO_STAGES, "fsdp")


def check_strategy(job: TrainingJob, processes: int) -> None:
    """UserError for an unknown or impossible strategy, and for a batch that cannot be shared."""
    if job.strategy not in STRATEGIES:
        raise UserError(
            f"{job.case}: strategy {job.strategy!r} is unknown: choose {', '.join(STRATEGIES)}."
        )
    if job.strategy != "ddp" and processes < 2:
        raise UserError(
            f"{job.case}: strategy {job.strategy!r} splits a policy over several processes, but "
            "there is only one: use 'ddp'."
        )
    size, parts = job.training.batch_size, job.accumulation_steps
    if parts < 1 or size % (processes * parts):
        raise UserError(
            f"{job.case}: batch_size {size} cannot be split evenly over {processes} processes "
            f"with accumulation_steps {parts}: choose numbers that divide it."
        )


def prepare(job: TrainingJob, policy: PreTrainedPolicy, accelerator: Accelerator) -> Prepared:
    """Lay out the policy, and a new AdamW for it, as the job's strategy has it; all processes hold
    the same weights before. UserError: the strategy cannot hold these weights."""
    if job.strategy == "ddp":
        return Replicated(job, policy, accelerator)
    kinds = sorted({str(p.dtype) for p in policy.parameters() if p.requires_grad})
    if len(kinds) > 1:
        raise UserError(
            f"{job.case}: strategy {job.strategy!r} needs trainable weights of one type, but the"
            f" policy has {' and '.join(kinds)}: use 'ddp'."
        )
    if job.strategy == "fsdp":
        return Fsdp(job, policy, accelerator)
    return Zero(job, policy, accelerator, ZERO_STAGES[job.strategy])
