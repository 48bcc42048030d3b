"""Batch scripts, line by line; that bash and shellcheck take them; that they do what is said when
they are told to stop."""

import dataclasses
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from bench.plan.document import Plan
from bench.run.slurm.jobs import Job, make_jobs
from bench.run.slurm.script import PASS_ON, Container, Site, describe, script_of

TRAINING = Job("E2-train-s0", ("E2-train-s0",), ("base", "latents"))
ARRAY = Job("E2-pred-s0.shards", ("E2-pred-s0",), ("E2-train-s0",), shards=4)
SHARED = Job("E2-train-s0", ("E2-train-s0",), ("base",), gpus=8, nodes=2, ranks=16)
REPORT = Job("report", after=("E2-train-s0",), whatever=True)
SCRIPT = """\
#!/bin/bash
#SBATCH --job-name=core-smoke-cpu-12345678:E2-train-s0
#SBATCH --output=/shared/results/core-smoke-cpu-12345678/logs/E2-train-s0.slurm-%j.out
#SBATCH --open-mode=append
#SBATCH --chdir=/shared/wmbench
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --exclusive
#SBATCH --mem=0
#SBATCH --requeue
#SBATCH --signal=B:TERM@60
#SBATCH --kill-on-invalid-dep=yes
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" TOKENIZERS_PARALLELISM=false
unset PYTHONDONTWRITEBYTECODE
job=$SLURM_JOB_ID
# The warning before the time limit comes to this shell alone. Handed on, it makes the step save
# what it has and end with 143.
trap 'scancel --signal=TERM "$job"' TERM
srun --ntasks=1 --cpus-per-task="$SLURM_CPUS_ON_NODE" \\
    /shared/wmbench/.venv/bin/python -m bench.cli run core --scale=smoke --machine=cpu --results=/shared/results --case=E2-train-s0 &
step=$!
while wait "$step"; code=$?; kill -0 "$step" 2>/dev/null; do :; done
# Stopped on the way: once more from the checkpoint, unless somebody cancelled the job.
if [ "$code" -eq 143 ] &&
    [ "$(squeue --noheader --array --jobs="$job" --format=%T)" = RUNNING ]; then
    scontrol requeue "$job"
fi
exit "$code"
"""  # as it is written


def directives(script: str) -> list[str]:
    return [
        line.removeprefix("#SBATCH --")
        for line in script.splitlines()
        if line.startswith("#SBATCH")
    ]


def step_of(script: str) -> str:
    """The srun command in one line."""
    return script[script.index("\nsrun ") + 1 : script.index(" &\n")].replace("\\\n   ", "")


def test_a_script(site: Site) -> None:
    assert script_of(site, TRAINING) == SCRIPT
    assert describe(site, TRAINING, SCRIPT) == (
        "# sbatch --dependency=afterok:<base>:<latents>"
        " /shared/results/core-smoke-cpu-12345678/slurm/E2-train-s0.sh\n" + SCRIPT
    )


def test_an_array(site: Site) -> None:
    script = script_of(site, ARRAY)
    assert {
        "array=1-4",
        "output=/shared/results/core-smoke-cpu-12345678/logs/E2-pred-s0.shards.slurm-%A_%a.out",
    } < set(directives(script))
    assert step_of(script).endswith('--case=E2-pred-s0 --shard="$SLURM_ARRAY_TASK_ID/4"')
    assert "\njob=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID\n" in script, (
        "SLURM_JOB_ID may be that of the whole array"
    )


def test_the_report(site: Site) -> None:
    script = script_of(site, REPORT)
    assert step_of(script).endswith("-m bench.cli report /shared/results/core-smoke-cpu-12345678")
    assert "cpus-per-task=1" in directives(script)
    assert "exclusive" not in directives(script)
    assert describe(site, REPORT, script).startswith(
        "# sbatch --dependency=afterany:<E2-train-s0> "
    )


def test_what_a_user_asks_for(site: Site) -> None:
    asked = dataclasses.replace(site, partition="gpu", time="2:00:00", cpus=16)
    found = directives(script_of(asked, dataclasses.replace(TRAINING, gpus=8)))
    assert {"partition=gpu", "time=2:00:00", "cpus-per-task=16", "gpus-per-node=8"} < set(found)
    assert "exclusive" not in found


def test_odd_paths(site: Site) -> None:
    odd = dataclasses.replace(site, run_dir=Path("/a b/100%/run"), python="/opt/it's/python")
    script = script_of(odd, REPORT)
    assert "output='/a b/100%%/run/logs/report.slurm-%j.out'" in directives(script)
    assert step_of(script).endswith("'/opt/it'\"'\"'s/python' -m bench.cli report '/a b/100%/run'")


@pytest.mark.parametrize(
    ("accelerator", "flag"), [("cpu", ""), ("cuda", "--nv "), ("rocm", "--rocm ")]
)
def test_apptainer(site: Site, accelerator: str, flag: str) -> None:
    inside = dataclasses.replace(
        site, container="apptainer", image="/images/wmbench.sif", accelerator=accelerator
    )
    assert (
        step_of(script_of(inside, TRAINING))
        == f"srun --ntasks=1 --cpus-per-task=\"$SLURM_CPUS_ON_NODE\"  bash -c '{PASS_ON}' --"
        f" apptainer exec --cleanenv --env=PYTHONNOUSERSITE=1 {flag}--bind=/shared/results"
        " --bind=/shared/cache --pwd=/opt/wmbench /images/wmbench.sif wmbench run core"
        " --scale=smoke --machine=cpu --results=/shared/results --case=E2-train-s0"
    )


def test_what_apptainer_is_told(tmp_path: Path) -> None:
    """With a stand-in that shows what it was given: which task this is, rank 0's address, the GPUs;
    nothing of the rest."""
    (tmp_path / "apptainer").write_text('#!/bin/bash\nprintf "%s\\n" "$@" "${!APPTAINERENV_@}"\n')
    (tmp_path / "apptainer").chmod(0o755)
    told = {
        "SLURM_PROCID": "3",
        "SLURM_LOCALID": "1",
        "MASTER_ADDR": "n1",
        "ROCR_VISIBLE_DEVICES": "0,1",
        "PYTHONHOME": "/x",
    }
    command = ["bash", "-c", PASS_ON, "--", "apptainer", "exec", "a b.sif"]
    shown = subprocess.run(
        command,
        env={"PATH": f"{tmp_path}:/bin:/usr/bin", **told},
        capture_output=True,
        text=True,
        check=True,
    )
    names = ("MASTER_ADDR", "ROCR_VISIBLE_DEVICES", "SLURM_LOCALID", "SLURM_PROCID")
    assert shown.stdout.splitlines() == [
        "exec",
        "a b.sif",
        *(f"APPTAINERENV_{name}" for name in names),
    ]


def test_a_training_on_two_nodes(site: Site) -> None:
    script = script_of(site, SHARED)
    wanted = {"nodes=2", "ntasks=16", "ntasks-per-node=8", "gpus-per-node=8", "exclusive"}
    assert wanted < set(directives(script))
    assert step_of(script).startswith(
        'srun --ntasks=16 --ntasks-per-node=8 --cpus-per-task="$((SLURM_CPUS_ON_NODE / 8))"'
        " --distribution=block --kill-on-bad-exit=1 --label --gpu-bind=none "
        " /shared/wmbench/.venv/bin/python -m bench.cli run "
    )
    few = directives(script_of(dataclasses.replace(site, cpus=64), SHARED))
    assert "cpus-per-task=8" in few
    assert "exclusive" not in few


def test_pyxis(site: Site) -> None:
    inside = dataclasses.replace(site, container="pyxis", image="registry.org#wmbench:rocm")
    assert (
        step_of(script_of(inside, TRAINING))
        == 'srun --ntasks=1 --cpus-per-task="$SLURM_CPUS_ON_NODE"'
        " '--container-image=registry.org#wmbench:rocm'"
        " --container-mounts=/shared/results:/shared/results,/shared/cache:/shared/cache"
        " --container-workdir=/opt/wmbench --container-mount-home  wmbench run core"
        " --scale=smoke --machine=cpu --results=/shared/results --case=E2-train-s0"
    )


@pytest.mark.parametrize("container", ["none", "apptainer", "pyxis"])
@pytest.mark.parametrize("checker", [["bash", "-n"], ["shellcheck"]])
def test_shells_take_them(
    site: Site, plan: Plan, tmp_path: Path, container: Container, checker: list[str]
) -> None:
    if shutil.which(checker[0]) is None:
        pytest.skip(f"there is no {checker[0]} here")
    inside = dataclasses.replace(site, container=container, image="/a b/image.sif")
    for shards in (1, 3):
        for job in (SHARED, *make_jobs(plan, (), shards)[-3:]):
            path = tmp_path / f"{job.name}.sh"
            path.write_text(script_of(inside, job))
            done = subprocess.run(
                [*checker, str(path)], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr


FAKE_SLURM = """#!/bin/bash
echo "$(basename "$0") $*" >> "$CALLS"
case "$(basename "$0")" in
srun)
    echo "met at $MASTER_ADDR:$MASTER_PORT" >> "$CALLS"
    trap 'sleep 0.2; exit 143' TERM
    echo $$ > "$CALLS.step"
    [ "$STEP" != ends ] || exit 7
    while :; do sleep 0.05; done ;;
scancel) kill -TERM "$(cat "$CALLS.step")" ;;
squeue) echo "$STATE" ;;
scontrol) echo "NodeName=n1 NodeAddr=10.0.0.7 PreemptTime=$PREEMPTED" ;;
esac
"""


def run_script(
    text: str, folder: Path, state: str, step: str, warn: bool, **more: str
) -> tuple[int, list[str]]:
    """The script as bash runs it, with stand-ins for Slurm's programs: its exit code, and how they
    were called.

    Args:
        step: ``ends`` with exit code 7, or ``stops`` with 143 when the script is warned, or else
        when srun ends it.
    """
    for name in ("srun", "scancel", "squeue", "scontrol"):
        (folder / name).write_text(FAKE_SLURM)
        (folder / name).chmod(0o755)
    script, calls = folder / "job.sh", folder / "calls"
    script.write_text(text)
    environment = {
        **os.environ,
        "PATH": f"{folder}:{os.environ['PATH']}",
        "CALLS": str(calls),
        "STATE": state,
        "STEP": step,
        "PREEMPTED": "None",
        "SLURM_JOB_ID": "30012",
        "SLURM_JOB_NODELIST": "n[1-2]",
        "SLURM_ARRAY_JOB_ID": "12",
        "SLURM_ARRAY_TASK_ID": "3",
        "SLURM_CPUS_ON_NODE": "2",
        **more,
    }
    with subprocess.Popen(["bash", str(script)], env=environment) as shell:
        if step == "stops":
            while not (folder / "calls.step").exists() and shell.poll() is None:
                pass
            if warn:
                shell.terminate()
            else:
                os.kill(int((folder / "calls.step").read_text()), signal.SIGTERM)
        return shell.wait(timeout=20), calls.read_text().splitlines()


@pytest.mark.parametrize(
    ("state", "step", "code", "requeued"),
    [
        ("RUNNING", "stops", 143, True),
        ("COMPLETING", "stops", 143, False),
        ("RUNNING", "ends", 7, False),
    ],
)
def test_told_to_stop(
    site: Site, tmp_path: Path, state: str, step: str, code: int, requeued: bool
) -> None:
    """It waits for the step, and requeues what was stopped."""
    ended, told = run_script(script_of(site, ARRAY), tmp_path, state, step, warn=True)
    assert ended == code
    assert ("scancel --signal=TERM 12_3" in told) == (step == "stops")
    assert ("scontrol requeue 12_3" in told) == requeued


@pytest.mark.parametrize(
    ("warn", "preempted", "requeued"),
    [(True, "None", True), (False, "2030-01-01T00:00:00", True), (False, "None", False)],
    ids=["time limit", "preempted", "srun ended it, as where a rank failed"],
)
def test_several_processes_told_to_stop(
    site: Site, tmp_path: Path, warn: bool, preempted: str, requeued: bool
) -> None:
    ended, told = run_script(
        script_of(site, SHARED), tmp_path, "RUNNING", "stops", warn, PREEMPTED=preempted
    )
    assert ended == 143
    assert ("scontrol requeue 30012" in told) == requeued
    assert "met at 10.0.0.7:20012" in told


def test_one_process_that_was_stopped_is_started_again_whoever_stopped_it(
    site: Site, tmp_path: Path
) -> None:
    ended, told = run_script(script_of(site, TRAINING), tmp_path, "RUNNING", "stops", warn=False)
    assert ended == 143
    assert "scontrol requeue 30012" in told
