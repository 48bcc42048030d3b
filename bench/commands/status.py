"""`wmbench status`: show how far a run is, and the state of its jobs in Slurm's queue."""

import argparse
import contextlib
import functools
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.run.slurm.queue import Submitted, Task, read_queue, read_submitted
from wmvla.errors import UserError

if TYPE_CHECKING:
    from bench.record.run import Run

HELP = "show which cases of a run are done, and the running success"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_dir", metavar="DIR", type=Path, help="run directory")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="print JSON, for programs")
    how.add_argument(
        "--watch",
        action="store_true",
        help="in a terminal: update the display until the run ends, or until Ctrl-C",
    )


def run(options: argparse.Namespace) -> int:
    """Non-obvious: if the output is no terminal, ``--watch`` prints the status once."""
    if options.watch and sys.stdout.isatty():
        from rich.console import Console

        from bench.commands.watching import watch

        with contextlib.suppress(KeyboardInterrupt):
            has_jobs = bool(read_submitted(options.run_dir))
            read = functools.partial(read_status, options.run_dir)
            watch(options.run_dir, read, _with_jobs, has_jobs, Console())
        return 0
    status = read_status(options.run_dir)
    if options.json:
        print(json.dumps(status, indent=1))
        return 0
    print(f"{status['run']}: {status['done']} of {len(status['cases'])} cases done")
    width = max(len(case["case"]) for case in status["cases"])
    for case in status["cases"]:
        print(f"{case['case']:<{width}}  {_with_jobs(case)}")
    for job in status.get("jobs", ()):
        print(f"{job['name']:<{width}}  {_job_in_words(job)}")
    return 0


def read_status(run_dir: Path) -> dict[str, Any]:
    """The status of a run directory, with its jobs if the queue answers. UserError: it is none."""
    from bench.record.run import read_run

    status = status_of(read_run(run_dir))
    submitted = read_submitted(run_dir)
    try:
        queue = read_queue(submitted)
    except UserError as error:
        print(f"the state of the queue is not known: {error}", file=sys.stderr)
        queue = None
    if submitted and queue is not None:
        for case in status["cases"]:
            if not case["done"]:  # of one that is done, the record says what its jobs did
                case["jobs"] = [_job(job, queue) for job in submitted if case["case"] in job.cases]
        status["jobs"] = [_job(job, queue) for job in submitted if not job.cases]
    return status


def _job(job: Submitted, queue: Sequence[Task]) -> dict[str, Any]:
    tasks = [
        {"index": task.index, "state": task.state, "reason": task.reason}
        for task in queue
        if task.job == job.id
    ]
    return {"name": job.name, "id": job.id, "tasks": tasks}


def _job_in_words(job: dict[str, Any]) -> str:
    """``job 7 pending (Dependency)``; of an array how many tasks are in each state."""
    counted = Counter((task["state"], task["reason"]) for task in job["tasks"])
    if not counted:
        return f"job {job['id']} has left the queue"
    is_array, states = len(job["tasks"]) > 1, []
    for (state, reason), number in counted.items():
        because = f" ({reason})" if reason else ""
        states.append(f"{number} " * is_array + f"{state.lower().replace('_', ' ')}{because}")
    return f"job {job['id']}{':' * is_array} {', '.join(states)}"


def status_of(run: "Run") -> dict[str, Any]:
    """Of each case what is done, episodes or steps, and why it failed when it was last tried."""
    from bench.judge.missing import missing_episodes
    from bench.judge.progress import progress_of
    from wmvla.rollout.tally import tally

    progress = progress_of(run.plan, run.rows)
    cases, missing = [], missing_episodes(run.plan, run.rows, progress)
    for case in run.plan.cases:
        status: dict[str, Any] = {"case": case.id, "kind": case.kind, "done": case.id in run.cases}
        if case.id in run.failures:
            status["failed"] = run.failures[case.id]
        if case.kind == "rollout":
            played = tally(run.rows[case.id])
            status |= {
                "finished": played.episodes,
                "planned": len(run.plan.rows_until(progress.ends[case.rollout])),
                "successes": played.successes,
                "broken": played.broken,
                "missing": missing.get(case.id, []),
            }
        elif case.kind == "train":
            lines = run.metrics[case.id]
            status |= {
                "finished": lines[-1]["step"] if lines else 0,
                "planned": run.plan.recipe.training.steps,
            }
        cases.append(status)
    return {"run": run.plan.run_name, "done": sum(case["done"] for case in cases), "cases": cases}


def _with_jobs(case: dict[str, Any]) -> str:
    jobs = "; ".join(map(_job_in_words, case.get("jobs", ())))
    return "  ".join(filter(None, [_in_words(case), jobs]))


def _in_words(case: dict[str, Any]) -> str:
    from bench.judge.missing import as_ranges

    state = "done" if case["done"] else "-"
    failed = f"failed {case['failed']}" if "failed" in case else ""
    if "finished" not in case:
        return failed or state
    if not case["done"] and case["finished"]:
        state = "begun"
    unit = "episodes" if case["kind"] == "rollout" else "steps"
    words = f"{state:<6} {case['finished']}/{case['planned']} {unit}"
    if case["kind"] == "rollout" and case["finished"]:
        words += (
            f", {case['successes']} solved ({100 * case['successes'] / case['finished']:.0f} %)"
        )
        if case["broken"]:
            words += f", {case['broken']} broken"
        if case["missing"]:
            words += f", {len(case['missing'])} missing: {as_ranges(case['missing'])}"
    return f"{words}  {failed}".rstrip()
