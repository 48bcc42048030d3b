"""`wmbench submit`: submit a plan to a Slurm cluster: one job for each case, and at the end one for
the report."""

import argparse
import sys
from pathlib import Path
from typing import get_args

from bench.commands.options import add_plan_options, as_flags, plan_from, run_dir_of, trackers_from
from bench.host.folders import working_folder
from bench.plan.document import Plan
from bench.plan.files import write_plan
from bench.run.slurm.jobs import make_jobs
from bench.run.slurm.queue import refuse_queued, require_slurm, submit
from bench.run.slurm.script import Container, Site, describe, script_of
from wmvla.errors import UserError

HELP = "submit a suite to a Slurm cluster, one job for each case"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("suite", nargs="?", default="core", help="suite, default: core")
    add_plan_options(parser.add_argument)
    parser.add_argument("--deterministic", action="store_true", help="the same as for wmbench run")
    parser.add_argument(
        "--shards",
        default="1",
        metavar="N",
        help="play each rollout in N parts, a job array; default: 1",
    )
    parser.add_argument("--cpus", metavar="N", help="cores of a job; default: a whole node")
    parser.add_argument("--partition", metavar="NAME", help="partition; default: the cluster's")
    parser.add_argument("--time", metavar="LIMIT", help="time limit of a job, in sbatch's format")
    parser.add_argument(
        "--container",
        choices=get_args(Container),
        default="none",
        help="container in which the cases run; default: none",
    )
    parser.add_argument(
        "--image", metavar="IMAGE", help="container image: a SIF file, or an image name for Pyxis"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print the scripts, write and submit nothing"
    )


def run(options: argparse.Namespace) -> int:
    """0: submitted, or printed."""
    from bench.run.executor import Executor

    plan, shards = plan_from(options.suite, options), _number("SHARDS", options.shards)
    trackers_from(options)
    if plan.last_look > 1 and shards > 1:
        raise UserError(
            f"--sequential cannot be used with {shards} shards: a look needs the episodes of all "
            "shards; leave one of the two out"
        )
    site = site_of(plan, options)
    executor = Executor(plan, site.run_dir)
    jobs = make_jobs(plan, {case.id for case in plan.cases if executor.is_done(case.id)}, shards)
    if options.dry_run:
        print("\n".join(describe(site, job, script_of(site, job)) for job in jobs))
        return 0
    require_slurm()
    refuse_queued(site.run_dir)
    write_plan(plan, site.run_dir)
    width = max(len(job.name) for job in jobs)
    for job, submitted in zip(jobs, submit(site, jobs), strict=True):
        after = f"after {', '.join(job.after) if job.cases else 'all'}" if job.after else ""
        print(f"{job.name:<{width}}  job {submitted.id}  {after}".rstrip())
    print(f"wmbench status {site.run_dir}")
    return 0


def site_of(plan: Plan, options: argparse.Namespace) -> Site:
    """What the scripts of a plan have in common. Every job is given machine, scale and results."""
    run_dir = run_dir_of(plan, options).resolve()
    given = {"scale": plan.scale, "machine": plan.machine.name, "results": run_dir.parent}
    return Site(
        run_dir=run_dir,
        command=(options.suite, *as_flags(argparse.Namespace(**{**vars(options), **given}))),
        start_in=working_folder(),
        python=sys.executable,
        accelerator=plan.machine.accelerator,
        container=options.container,
        image=_image(options),
        partition=options.partition,
        time=options.time,
        cpus=None if options.cpus is None else _number("CPUS", options.cpus),
    )


def _image(options: argparse.Namespace) -> str:
    """The image as nodes find it: a file by its absolute path."""
    if options.container == "none":
        if options.image is not None:
            raise UserError(
                f"--image={options.image} has no effect without --container=apptainer or "
                "--container=pyxis"
            )
        return ""
    if options.image is None:
        raise UserError(
            f"--container={options.container} needs --image, the image that its jobs run in"
        )
    path = Path(options.image)
    if options.container == "apptainer" and not path.is_file() and "://" not in options.image:
        raise UserError(
            f"--image={options.image}: no such file; make it with apptainer build, or give an "
            "address"
        )
    return str(path.resolve()) if path.is_file() else str(options.image)


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) >= 1):
        raise UserError(f"{name}={text}: give a whole number, 1 or more")
    return int(text)
