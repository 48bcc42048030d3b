"""Trainings in processes of their own, and what they write."""

import json
import socket
from pathlib import Path
from typing import Any

import psutil

from tests.forked import Forked, run_module, run_ranks
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


def start(job: TrainingJob, path: Path, processes: int) -> Forked:
    """The training as the executor starts it, but forked from this process instead of by torchrun,
    which the smoke run of ``test_end_to_end.py`` does."""
    run = run_module("wmvla.train.main", str(job.write(path)))
    return Forked(run if processes == 1 else run_ranks(processes, free_port(), run))


def free_port() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


def kill(launcher: Forked) -> None:
    """Kill -9 a training: its launcher, if it has one, and all of its processes."""
    processes = [
        *psutil.Process(launcher.pid).children(recursive=True),
        psutil.Process(launcher.pid),
    ]
    for process in processes:
        process.kill()
    psutil.wait_procs(processes, timeout=20)
    launcher.communicate()
