"""The cluster's side of a run: submitting its jobs, and what the queue says of them."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.run.slurm.jobs import Job
from bench.run.slurm.script import Site, dependency, job_name, script_of, script_path
from wmvla.errors import UserError
from wmvla.files import write_file, write_json

FORMAT = "%F|%K|%T|%r"
"""Job, index in its array, state, reason: of ``squeue``."""
_KILLED = ("NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT")
ENDED = frozenset(("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", *_KILLED))
"""States after which a job does not start again by itself."""
NO_REASON = "None"


@dataclass(frozen=True)
class Submitted:
    """A job that the cluster has taken; a line of ``slurm/jobs.json``."""

    name: str
    id: str
    queue_name: str
    cases: tuple[str, ...]
    shards: int


@dataclass(frozen=True)
class Task:
    """A line of the queue: a job, or one task of a job array."""

    job: str
    index: int | None
    state: str
    reason: str | None

    @property
    def ended(self) -> bool:
        return self.state in ENDED


def jobs_path(run_dir: Path) -> Path:
    return Path(run_dir) / "slurm" / "jobs.json"


def read_submitted(run_dir: Path) -> list[Submitted]:
    """The jobs of the last ``wmbench submit`` in a run directory; [] where there was none."""
    path = jobs_path(run_dir)
    try:
        found = json.loads(path.read_text())["jobs"]
        return [Submitted(**{**job, "cases": tuple(job["cases"])}) for job in found]
    except FileNotFoundError:
        return []
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: not a list of submitted jobs ({error}); remove it, and look for the jobs "
            "with squeue"
        ) from None


def require_slurm() -> None:
    """UserError where nothing can be submitted from."""
    if shutil.which("sbatch") is None:
        raise UserError(
            "sbatch is not installed here; submit on a machine that has Slurm, or print the "
            "scripts with --dry-run"
        )


def submit(site: Site, jobs: Sequence[Job]) -> list[Submitted]:
    """Write the scripts and submit them, each after what it waits for.

    UserError with Slurm's own line if it refuses one, or where a file cannot be written; then the
    submitted ones are cancelled.
    """
    # Slurm makes no folder for a job's output.
    (site.run_dir / "logs").mkdir(parents=True, exist_ok=True)
    submitted: list[Submitted] = []
    ids: dict[str, str] = {}
    try:
        for job in jobs:
            path = script_path(site, job)
            write_file(path, script_of(site, job).encode())
            answer = _output_of(["sbatch", "--parsable", *dependency(job, ids), str(path)])
            ids[job.name] = answer.strip().partition(";")[0]  # a cluster's name may follow
            queue_name = job_name(site, job)
            submitted.append(Submitted(job.name, ids[job.name], queue_name, job.cases, job.shards))
            write_json(jobs_path(site.run_dir), {"jobs": [asdict(one) for one in submitted]})
    except UserError:
        if submitted:
            _output_of(["scancel", *(earlier.id for earlier in submitted)])
        raise
    return submitted


def refuse_queued(run_dir: Path) -> None:
    """UserError where jobs of an earlier submission are not at their end."""
    submitted = read_submitted(run_dir)
    waiting = {task.job for task in read_queue(submitted) or () if not task.ended}
    left = [job for job in submitted if job.id in waiting]
    if left:
        raise UserError(
            f"{run_dir}: {len(left)} jobs of this run are in the queue, the first is {left[0].id} "
            f"({left[0].name}); wait for them, or cancel them first: scancel "
            f"{' '.join(job.id for job in left)}"
        )


def read_queue(submitted: Sequence[Submitted]) -> list[Task] | None:
    """What the queue says of those jobs; None without ``squeue``. UserError if it does not answer.
    Non-obvious: Slurm forgets a job some minutes after its end (``MinJobAge``). Asked by name,
    because it refuses to be asked for the number of a single job that it has forgotten."""
    if shutil.which("squeue") is None:
        return None
    if not submitted:
        return []
    names, ids = (",".join(job.queue_name for job in submitted), {job.id for job in submitted})
    flags = ["--noheader", "--array", "--states=all", f"--format={FORMAT}", f"--name={names}"]
    tasks = parse_queue(_output_of(["squeue", *flags]))
    return [task for task in tasks if task.job in ids]


def parse_queue(text: str) -> list[Task]:
    """The lines of ``squeue --noheader --array --format=FORMAT``."""
    tasks = []
    for line in text.splitlines():
        job, index, state, reason = line.split("|", 3)
        number, why = (
            int(index) if index.isdecimal() else None,
            None if reason == NO_REASON else reason,
        )
        tasks.append(Task(job, number, state, why))
    return sorted(tasks, key=lambda task: (int(task.job), task.index or 0))


def _output_of(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise UserError(
            f"{command[0]} failed ({command[-1]}): {reason.removeprefix(f'{command[0]}: error: ')}"
        )
    return done.stdout
