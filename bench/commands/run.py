"""`wmbench run`: run a plan case by case, then write the report and print the verdict."""

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

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
from bench.plan.files import load_plan
from bench.run.output import terminal
from bench.run.sigterm import STOPPED, interrupt_on_sigterm
from bench.run.srun import joins
from bench.run.tripwire import TripwireError
from wmvla.errors import UserError
from wmvla.rollout.shard import Shard

if TYPE_CHECKING:
    from bench.run.session import Session

HELP = "run a suite, or continue it, and report"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("suite", nargs="?", default="core", help="suite, default: core")
    add_plan_options(parser.add_argument)
    add_run_options(parser.add_argument)


def run(options: argparse.Namespace) -> int:
    """0: every case is done, whatever the verdict. 1: a case failed. 2: bad usage, or what only the
    user can repair. 130: Ctrl-C stopped it, 143: SIGTERM did.

    A shard plays its part of the rollouts and writes no report: 0 when all of its episodes are
    recorded. Nor is there a report where cases were named. Of the ranks of a named training rank 0
    does all of this, and the others join in the training.
    """
    with interrupt_on_sigterm() as came:
        try:
            return _run(options)
        except KeyboardInterrupt as interrupt:
            if not came:
                raise
            print(f"stopped: {interrupt}; the same command continues", file=sys.stderr)
            return STOPPED


def _run(options: argparse.Namespace) -> int:
    if options.offline:
        go_offline()
    plan, trackers = plan_from(options.suite, options), trackers_from(options)
    run_dir, shard = run_dir_of(plan, options), shard_from(options, plan)
    cases = cases_from(plan, options)
    if joins(plan, cases):
        from bench.run.executor import Executor

        require(plan, cases)
        return Executor(plan, run_dir).join(cases[0])
    from bench.run.session import cases_here, session

    chosen = cases_here(plan, shard, cases)
    with (
        terminal() as show,
        session(
            plan,
            run_dir,
            chosen,
            shard=shard,
            cases=cases,
            show=show,
            trackers=trackers,
            deterministic=options.deterministic,
            logged=True,
            command=shlex.join(["wmbench", *options.given]),
            flags=as_flags(options),
        ) as opened,
    ):
        try:
            succeeded = carry_out(opened, chosen, show)
        except TripwireError as error:
            print(f"error: {error}", file=sys.stderr)
            succeeded = False
    if shard:
        _show_shard(shard, run_dir, options)
    else:
        from bench.commands.report import print_outcome
        from bench.compare.control_runs import write_controls

        write_controls(plan, run_dir)
        if not cases:
            print_outcome(run_dir, ran=True)
    return 0 if succeeded else 1


def carry_out(opened: "Session", cases: Sequence[str], show: Callable[[str], None]) -> bool:
    """Carry out cases one after another, and say of each how it ended: whether all succeeded. A
    case that fails stops those alone that need it. Raises UserError and TripwireError."""
    failed: dict[str, Exception] = {}
    before = 0
    for case_id in cases:
        try:
            record = opened.carry_out(case_id)
        except (UserError, TripwireError):
            raise
        except Exception as error:
            first = next((other for other, known in failed.items() if known is error), None)
            failed[case_id] = error
            reason = f"as {first} did" if first else str(error) or type(error).__name__
            show(f"  {case_id:<15} failed: {reason}")
        else:
            if case_id in opened.executor.carried_out:
                show(f"  {case_id:<15} done in {record['seconds']:.1f} s")
            else:
                before += 1
    if before:
        show(f"  {before} of {len(cases)} cases were done before")
    return not failed


def _show_shard(shard: Shard, run_dir: Path, options: argparse.Namespace) -> None:
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
