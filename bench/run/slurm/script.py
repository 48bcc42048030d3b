"""The batch script of a job. Pure."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.run.slurm.jobs import Job

Container = Literal["none", "apptainer", "pyxis"]
IMAGE_FOLDER = "/opt/wmbench"
"""Where the images of Containerfile.rocm and Containerfile.cuda have the suite."""
WARNING_SECONDS = 60
"""So long before its time limit a job is asked to stop."""

BODY = """
export OMP_NUM_THREADS="${{OMP_NUM_THREADS:-1}}" TOKENIZERS_PARALLELISM=false
unset PYTHONDONTWRITEBYTECODE
job={job}
# The warning before the time limit comes to this shell alone. Handed on, it makes the step save
# what it has and end with 143.
trap '{noted}scancel --signal=TERM "$job"' TERM
{meeting}{step} &
step=$!
while wait "$step"; code=$?; kill -0 "$step" 2>/dev/null; do :; done
# Stopped on the way: once more from the checkpoint, unless somebody cancelled the job.
if [ "$code" -eq 143 ] &&
    [ "$(squeue --noheader --array --jobs="$job" --format=%T)" = RUNNING ]{taken}; then
    scontrol requeue "$job"
fi
exit "$code"
"""
MEETING = """\
# Where the processes meet: at the first node, as Slurm itself reaches it, and at a port of this
# job's own.
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
[[ "$(scontrol show node "$first")" =~ NodeAddr=([^[:space:]]+) ]]
export MASTER_ADDR="${BASH_REMATCH[1]}" MASTER_PORT="$((10000 + SLURM_JOB_ID % 20000))"
"""
PASS_ON = (
    'for name in "${!SLURM_@}" "${!NCCL_@}" "${!GLOO_@}" MASTER_ADDR MASTER_PORT'
    ' CUDA_VISIBLE_DEVICES ROCR_VISIBLE_DEVICES; do [ -z "${!name+set}" ] || export'
    ' "APPTAINERENV_$name=${!name}"; done; exec "$@"'
)
"""Run by each task: Slurm's variables, and which GPUs the job has, also reach a clean Apptainer."""
TAKEN_BACK = """ &&
    {
        [ -n "${warned:-}" ] || [[ "$(scontrol show job "$job")" =~ PreemptTime=[0-9] ]]
    }"""
"""Whether it was Slurm that stopped several processes. Non-obvious: where one of them fails srun
ends the others with SIGTERM too, and its exit code is the highest of all. A job that started again
for that would do so for ever."""


@dataclass(frozen=True)
class Site:
    """What all scripts of a run have in common. Paths are absolute."""

    run_dir: Path
    command: tuple[str, ...]
    """``run``'s suite and options."""
    start_in: Path
    python: str
    accelerator: Literal["cpu", "cuda", "rocm"]
    container: Container = "none"
    image: str = ""
    partition: str | None = None
    time: str | None = None
    cpus: int | None = None
    """Cores of a job on each of its nodes; None: whole nodes."""


def job_name(site: Site, job: Job) -> str:
    """As ``squeue`` shows it."""
    return f"{site.run_dir.name}:{job.name}"


def script_path(site: Site, job: Job) -> Path:
    return site.run_dir / "slurm" / f"{job.name}.sh"


def script_of(site: Site, job: Job) -> str:
    """The job's script, for ``sbatch``; what it waits for is said when it is submitted."""
    logs = str(site.run_dir / "logs").replace("%", "%%")
    wanted = {
        "job-name": job_name(site, job),
        "output": f"{logs}/{job.name}.slurm-{'%A_%a' if job.shards > 1 else '%j'}.out",
        "open-mode": "append",
        "chdir": str(site.start_in),
        "partition": site.partition,
        "time": site.time,
        "nodes": str(job.nodes),
        "ntasks": str(job.ranks),
        "ntasks-per-node": str(_ranks_per_node(job)) if job.ranks > 1 else None,
        **_cores(site, job),
        "gpus-per-node": str(job.gpus) if job.gpus else None,
        "array": f"1-{job.shards}" if job.shards > 1 else None,
        "requeue": "",
        "signal": f"B:TERM@{WARNING_SECONDS}",
        "kill-on-invalid-dep": "yes",
    }
    lines = [
        f"#SBATCH --{name}" + (f"={shlex.quote(value)}" if value else "")
        for name, value in wanted.items()
        if value is not None
    ]
    own = "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID" if job.shards > 1 else "$SLURM_JOB_ID"
    several = {"meeting": MEETING, "noted": "warned=yes; ", "taken": TAKEN_BACK}
    several = several if job.ranks > 1 else dict.fromkeys(several, "")
    body = BODY.format(job=own, step=_step(site, job), **several)
    return "\n".join(["#!/bin/bash", *lines, body.strip(), ""])


def _cores(site: Site, job: Job) -> dict[str, str]:
    """The report needs one core, all else what was asked for. ``--mem=0``: a whole node's."""
    if not job.cases:
        return {"cpus-per-task": "1"}
    if site.cpus is None:
        return {"exclusive": "", "mem": "0"}
    return {"cpus-per-task": str(max(1, site.cpus // _ranks_per_node(job)))}


def _ranks_per_node(job: Job) -> int:
    return job.ranks // job.nodes


def _step(site: Site, job: Job) -> str:
    """The ``srun`` of the job, on all its cores: one task, or one for each process of a training.

    Non-obvious: srun, and not the bare command, because what preempts a job signals its steps and
    not the script. All tasks of a node see all of its GPUs; each takes the one of its number there.
    """
    flags = [f"--ntasks={job.ranks}"]
    if job.ranks == 1:
        flags.append('--cpus-per-task="$SLURM_CPUS_ON_NODE"')
    else:
        per_node = _ranks_per_node(job)
        cores = f'--cpus-per-task="$((SLURM_CPUS_ON_NODE / {per_node}))"'
        flags += [f"--ntasks-per-node={per_node}", cores, "--distribution=block"]
        flags += ["--kill-on-bad-exit=1", "--label", *(["--gpu-bind=none"] if job.gpus else [])]
    expanded = "# shellcheck disable=SC2016 # for each task to expand\n"
    note = expanded if site.container == "apptainer" else ""
    command = " ".join([*_started(site), *_arguments(site, job)])
    return f"{note}srun {' '.join([*flags, *_pyxis(site)])} \\\n    {command}"


def _arguments(site: Site, job: Job) -> list[str]:
    if not job.cases:
        return ["report", shlex.quote(str(site.run_dir))]
    cases = [f"--case={case}" for case in job.cases]
    shard = [f'--shard="$SLURM_ARRAY_TASK_ID/{job.shards}"'] if job.shards > 1 else []
    return ["run", *map(shlex.quote, [*site.command, *cases]), *shard]


def _started(site: Site) -> list[str]:
    """How ``wmbench`` is started on a node."""
    if site.container == "none":
        return [shlex.quote(site.python), "-m", "bench.cli"]
    if site.container == "pyxis":
        return ["wmbench"]
    gpu = {"cpu": [], "cuda": ["--nv"], "rocm": ["--rocm"]}[site.accelerator]
    binds = [f"--bind={path}" for path in _shared_folders(site)]
    # The host's variables are for the host's Python, and so are packages in the user's home folder.
    clean = ["--cleanenv", "--env=PYTHONNOUSERSITE=1"]
    flags = [*clean, *gpu, *binds, f"--pwd={IMAGE_FOLDER}", site.image]
    quoted = map(shlex.quote, flags)
    return ["bash", "-c", shlex.quote(PASS_ON), "--", "apptainer", "exec", *quoted, "wmbench"]


def _pyxis(site: Site) -> list[str]:
    if site.container != "pyxis":
        return []
    mounts = ",".join(f"{path}:{path}" for path in _shared_folders(site))
    flags = [
        f"--container-image={site.image}",
        f"--container-mounts={mounts}",
        f"--container-workdir={IMAGE_FOLDER}",
    ]
    return [*map(shlex.quote, flags), "--container-mount-home"]


def _shared_folders(site: Site) -> list[Path]:
    """What a container sees under the nodes' own paths: the results, and the cache beside them."""
    results = site.run_dir.parent
    return [results, results.parent / "cache"]


def describe(site: Site, job: Job, script: str) -> str:
    """For ``--dry-run``: the command that would submit the script, and the script."""
    waiting = dependency(job, {name: f"<{name}>" for name in job.after})
    return f"# {' '.join(['sbatch', *waiting, str(script_path(site, job))])}\n{script}"


def dependency(job: Job, ids: dict[str, str]) -> list[str]:
    """What ``sbatch`` gets of the jobs that this one waits for, by their `ids`."""
    if not job.after:
        return []
    how, waited = "afterany" if job.whatever else "afterok", [ids[name] for name in job.after]
    return [f"--dependency={how}:{':'.join(waited)}"]
