"""Trainings in processes of their own, and what they write."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from wmvla.train.job import TrainingJob

SAME = (
    "step", "learning_rate", "samples", "loss_total", "action_loss", "world_loss", "world_cos", "world_cos_k",
    "world_valid_frac", "world_valid_k", "world_gate", "world_mem_norm", "world_z_hist_norm", "world_z_future_norm",
    "world_attn_entropy", "world_attn_pmax", "world_attn_k", "world_ctx_norm", "world_act_norm", "grad_norm",
    "grad_world_inject", "grad_prophet",
)  # fmt: skip
"""Every quantity of PROTOCOL.md, and what a line has besides."""


def metrics(job: TrainingJob) -> list[dict[str, Any]]:
    """The metrics of a run, without its clock."""
    rows = [json.loads(line) for line in Path(job.metrics).read_text().splitlines()]
    return [{key: row[key] for key in SAME if key in row} for row in rows]


def start(job: TrainingJob, path: Path, processes: int) -> subprocess.Popen:
    """The training as the executor starts it."""
    job.write(path)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    return subprocess.Popen(
        [sys.executable, *(launcher if processes > 1 else []), "-m", "wmvla.train.main", str(path)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )


def kill(launcher: subprocess.Popen) -> None:
    """Kill -9 a training: its launcher, if it has one, and all of its processes."""
    processes = [
        *psutil.Process(launcher.pid).children(recursive=True),
        psutil.Process(launcher.pid),
    ]
    for process in processes:
        process.kill()
    psutil.wait_procs(processes, timeout=20)
    launcher.communicate()
