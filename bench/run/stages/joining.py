"""Training as one of the processes behind rank 0, which reports how all of them ended."""

import sys
import time

from bench.plan.cases import Case
from bench.run.sigterm import STOPPED, handed_on
from bench.run.stages.context import Context
from bench.run.stages.training import job_path
from bench.run.stages.watched import POLL_SECONDS, running
from wmvla.watch.children import stop
from wmvla.watch.life import life_path

FAILED = 1


def run(context: Context, case: Case) -> int:
    """Exit code of this process. 0: the training ended, or was stopped in order; 143: never began.
    Non-obvious: srun ends all processes where one says that something is wrong. So one that was
    stopped in order does not, or rank 0 would have no time to say it of all."""
    from wmvla.train.parallel import preemption

    job = job_path(context.run_dir, case.id)
    command = [sys.executable, "-m", "wmvla.train.main", str(job)]
    with running(command, job, sys.stdout) as child, handed_on(child) as signals:
        while child.poll() is None:
            time.sleep(POLL_SECONDS)
            if signals:
                stop(child, life_path(job))
    code = child.returncode
    if code in (0, preemption.STOPPED):
        return 0
    return STOPPED if signals and code < 0 else FAILED
