"""`wmbench run`: carries out a plan through pytest, then writes the report and says the verdict."""

import argparse
import os
import shlex
import subprocess
import sys
from pathlib import Path

from bench.commands.options import (
    add_plan_options,
    add_run_options,
    as_flags,
    cases_from,
    plan_from,
    run_dir_of,
    shard_from,
    trackers_from,
)
from bench.forecast.hub import go_offline
from bench.forecast.requirements import require
from bench.plan.files import load_plan, write_plan
from bench.plan.suite import SUITES
from bench.run.sigterm import STOPPED, handed_on
from bench.run.srun import joins, refuse_several_nodes, spread_without_slurm
from wmvla.rollout.lock import lock
from wmvla.rollout.shard import Shard

HELP = "run a suite, or continue it, and report"

PYTEST_FAILED, PYTEST_STOPPED = 1, 2
QUIET = ("-q", "--disable-warnings", "--benchmark-columns=mean", "--benchmark-sort=fullname")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("suite", nargs="?", default="core", help="suite, default: core")
    add_plan_options(parser.add_argument)
    add_run_options(parser.add_argument)


def run(options: argparse.Namespace) -> int:
    """0: every case is done, whatever the verdict. 1: a case failed. 2: bad usage, or the run was
    stopped; 143: by SIGTERM.

    A shard plays its part of the rollouts and writes no report: 0 when all of its episodes are
    recorded. Nor is there a report where cases were named. Of the ranks of a named training rank 0
    does all of this, and the others join in the training.
    """
    if options.offline:
        go_offline()
    plan = plan_from(options.suite, options)
    trackers_from(options)  # pytest asks again; here a wrong one ends in one line
    require(plan, options.cases)
    run_dir, shard, cases = (
        run_dir_of(plan, options),
        shard_from(options, plan),
        cases_from(plan, options),
    )
    if joins(plan, cases):
        from bench.run.executor import Executor

        return Executor(plan, run_dir).join(cases[0])
    if spread_without_slurm(plan):
        from bench.run.executor import Executor

        refuse_several_nodes(plan, cases, Executor(plan, run_dir).is_done)
    # pytest takes the lock again; asked for here, a second run ends in one line
    with lock(run_dir, shard, cases):
        write_plan(plan, run_dir)
    part = [*([f"--shard={shard}"] if shard else []), *(f"--case={case}" for case in cases)]
    code = _pytest([str(SUITES), f"--suite={options.suite}", *as_flags(options), *part])
    if code == STOPPED:
        return STOPPED
    if code not in (0, PYTEST_FAILED):
        return 2
    if shard:
        _tell_shard(shard, run_dir, options)
    else:
        from bench.commands.report import tell
        from bench.compare.control_runs import write_controls

        write_controls(plan, run_dir)
        if not cases:
            tell(run_dir, ran=True)
    return 0 if code == 0 else 1


def _tell_shard(shard: Shard, run_dir: Path, options: argparse.Namespace) -> None:
    """Print what all shards have recorded so far, and which command plays the rest and reports."""
    from bench.judge.missing import missing_episodes
    from bench.record.journal import read_journals

    plan = load_plan(run_dir)
    missing = sum(map(len, missing_episodes(plan, read_journals(plan, run_dir)).values()))
    planned = len(plan.rollout_cases()) * len(plan.episodes)
    command = shlex.join(["wmbench", "run", options.suite, *as_flags(options)])
    rest = f"plays the {missing} that are missing and reports" if missing else "reports"
    print(f"shard {shard}: {planned - missing} of {planned} episodes are recorded in {run_dir}")
    print(f"without --shard, {command} {rest}")


def _pytest(arguments: list[str]) -> int:
    """Exit code of pytest in a process of its own; ``STOPPED`` where SIGTERM came and it did not
    end well.

    Non-obvious: Ctrl-C reaches pytest by itself, which stops in order; here it is only waited for.
    """
    from bench.record.provenance import COMMAND

    command = [sys.executable, "-m", "pytest", *QUIET, *arguments]
    environment = {**os.environ, COMMAND: shlex.join(["wmbench", *sys.argv[1:]])}
    with (
        subprocess.Popen(command, cwd=SUITES.parent, env=environment) as child,
        handed_on(child) as signals,
    ):
        while True:
            try:
                code = child.wait()
            except KeyboardInterrupt:
                continue
            return STOPPED if signals and code else code
