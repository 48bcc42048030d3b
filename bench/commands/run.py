"""`wmbench run`: carries out a plan through pytest, then writes the report and says the verdict."""

import argparse
import subprocess
import sys

from bench.options import add_plan_options, as_flags, plan_from, run_dir_of, trackers_from
from bench.plan import write_plan
from bench.requirements import require
from bench.suite import SUITES
from wmvla.rollout.lock import lock

HELP = "run a suite, or continue it, and report"

PYTEST_FAILED, PYTEST_STOPPED = 1, 2
QUIET = ("-q", "--disable-warnings", "--benchmark-columns=mean", "--benchmark-sort=fullname")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("suite", nargs="?", default="core", help="suite, default: core")
    add_plan_options(parser.add_argument)


def run(options: argparse.Namespace) -> int:
    """0: every case is done, whatever the verdict. 1: a case failed. 2: bad usage, or the run was stopped."""
    plan = plan_from(options.suite, options)
    trackers_from(options)  # pytest asks again; here a wrong one ends in one line
    require(plan)
    run_dir = run_dir_of(plan, options)
    with lock(run_dir):  # pytest takes it again; asked for here, a second run ends in one line
        write_plan(plan, run_dir)
    code = _pytest([str(SUITES), f"--suite={options.suite}", *as_flags(options)])
    if code not in (0, PYTEST_FAILED):
        return 2
    from bench.commands.report import tell

    tell(run_dir)
    return 0 if code == 0 else 1


def _pytest(arguments: list[str]) -> int:
    """Exit code of pytest in a process of its own.

    Non-obvious: Ctrl-C reaches pytest by itself, which stops in order; here it is only waited for.
    """
    with subprocess.Popen([sys.executable, "-m", "pytest", *QUIET, *arguments], cwd=SUITES.parent) as child:
        while True:
            try:
                return child.wait()
            except KeyboardInterrupt:
                continue
