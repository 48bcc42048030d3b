"""Training: one arm from the base checkpoint, in processes of its own."""

import json
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from bench.plan.cases import Case
from bench.plan.machine import Machine
from bench.plan.suite import Arm
from bench.run.srun import submit_instead
from bench.run.stages.context import Context
from bench.run.stages.prepared import forked
from bench.run.stages.reason import has_traceback, reason, said
from bench.run.stages.rollout import journals_played_by
from bench.run.stages.watched import log_of_attempt, running, wait_while_alive
from wmvla.errors import UserError
from wmvla.processes import by_srun
from wmvla.rollout.journal import Journal
from wmvla.watch.children import Child, stop
from wmvla.watch.life import life_path

if TYPE_CHECKING:
    from wmvla.train.job import TrainingJob

ONE_THREAD = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
"""Environment of a training or a tripwire."""


def run(context: Context, case: Case) -> dict[str, Any]:
    """Fine-tune the case's arm; figures: steps and the last line of its metrics."""
    from wmvla.train.job import TrainingJob

    _refuse_to_mix(context, case)
    plan = context.plan
    arm = plan.arms[str(case.arm)]
    assert case.seed is not None
    job = TrainingJob(
        case=case.id,
        dataset_root=str(context.dataset_root or ""),
        dataset_repo_id=context.dataset_repo_id,
        checkpoints=str((context.run_dir / "checkpoints" / case.id).resolve()),
        metrics=str((context.run_dir / "metrics" / f"{case.id}.jsonl").resolve()),
        seed=case.seed,
        training=plan.recipe.training,
        device=context.device,
        precision=plan.machine.precision,
        strategy=plan.machine.strategy,
        accumulation_steps=plan.machine.accumulation_steps,
        vision_cache=str(context.cache) if plan.machine.cache_vision else "",
        trackers=context.trackers,
        base=str(base_checkpoint(context)),
        world=world_fields(context, arm) if arm.policy == "smolvla_world" else None,
    )
    return run_job(context, job)


def _refuse_to_mix(context: Context, case: Case) -> None:
    """UserError if episodes of a checkpoint that is gone are recorded. Non-obvious: trained again
    it may have other weights; no journal may hold episodes of both."""
    from wmvla.train.checkpoint import latest_step

    folder = context.run_dir / "checkpoints" / case.id
    if latest_step(folder) == context.plan.recipe.training.steps:
        return
    played = [
        f"episodes/{file.name}"
        for file in journals_played_by(context, case.id)
        if Journal(file).rows()
    ]
    if played:
        raise UserError(
            f"{folder}: the checkpoint is gone, but episodes that it played are recorded; put it "
            f"back, or remove {' '.join(played)} in the run directory to train and play again"
        )


def base_checkpoint(context: Context) -> Path:
    """The base case's ``pretrained_model`` folder, as it is recorded."""
    record = json.loads((context.run_dir / "cases" / "base.json").read_text())
    return context.absolute(record["artefacts"])["checkpoint"]


def world_fields(context: Context, arm: Arm | None = None) -> dict[str, Any]:
    """The configuration fields that ``smolvla_world`` adds: the scale's, and those of the arm."""
    from transformers import AutoConfig

    world = context.plan.recipe.world
    cameras = 2 if world.camera == "both" else 1
    return {
        "dataset_repo_id": context.dataset_repo_id,
        "cache_dir": str(context.cache),
        "world_latents_source": context.latents_source,
        "latent_suffix": context.latents_suffix,
        "world_latent_dim": cameras * AutoConfig.from_pretrained(context.encoder_name).hidden_size,
        "world_camera": world.camera,
        "context_frames": world.history,
        "future_offset": world.horizon,
        "lambda_world": world.lambda_world,
        "prophet_heads": world.attention_heads,
        "world_inject_num_heads": world.attention_heads,
        "world_prefix_num_heads": world.attention_heads,
        "world_vision_model_name": context.encoder_name,
        **({"world_memory_mode_train": arm.memory, **arm.fields.given()} if arm else {}),
    }


def run_job(context: Context, job: "TrainingJob") -> dict[str, Any]:
    """Run a job in the machine's training processes; show its progress; record its end.

    Non-obvious: others that srun started wait for this one even if all is trained.

    UserError: its metrics are not those of its checkpoint. KeyboardInterrupt: SIGTERM stopped the
    training, here or there; its newest checkpoint is that of its last step.
    """
    from wmvla.train.checkpoint import latest_step, pretrained_folder, remove_older

    folder, steps = Path(job.checkpoints), job.training.steps
    if latest_step(folder) < steps or by_srun():
        path = job.write(job_path(context.run_dir, job.case))
        try:
            _run_processes(context, job, path)
        except KeyboardInterrupt as interrupt:
            raise KeyboardInterrupt(
                said(context.log_path(job.case), "stopped: ") or str(interrupt)
            ) from None
    else:
        remove_older(folder, steps)  # a training may have been killed at that
    last = _last_line(Path(job.metrics))
    if last is None or last["step"] != steps:
        found = "has no whole line" if last is None else f"ends at step {last['step']}"
        gone = [folder, *journals_played_by(context, job.case)]
        raise UserError(
            f"{job.metrics}: {found}, and the checkpoint beside it is of step {steps}; put the file"
            f" back as it was, or remove {' '.join(map(str, gone))} to train again"
        )
    artefacts = {"checkpoint": pretrained_folder(folder, steps), "metrics": Path(job.metrics)}
    return {"artefacts": artefacts, "steps": steps, "last": last}


def _run_processes(context: Context, job: "TrainingJob", path: Path) -> None:
    from wmvla.train.checkpoint import latest_step
    from wmvla.train.parallel.preemption import STOPPED

    ranks = context.plan.machine.training_processes
    log, metrics = context.log_path(job.case), Path(job.metrics)
    progress = context.progress(job.case, job.training.steps, latest_step(Path(job.checkpoints)))
    began = time.time()
    with (
        log_of_attempt(log) as output,
        running_module(context, "wmvla.train.main", path, output, ranks) as child,
    ):
        try:
            for _ in wait_while_alive(child, job.case, path, log, [metrics]):
                last = _last_line(metrics, newer_than=began)
                if last is not None:
                    progress.update(last["step"], f"loss {last['loss_total']:.4f}")
        except KeyboardInterrupt:
            code = stop(child, life_path(path))
            # srun ends all if one fails: that is no stop. The exit code need not show it: SIGTERM
            # may come while Python ends with a traceback.
            failed = said(log, "error: ") or has_traceback(log)
            if by_srun() and code not in (0, STOPPED) and failed:
                _explain(log, job.case)
            raise
    if child.returncode != 0:
        _explain(log, job.case)


def running_module(
    context: Context, module: str, job: Path, output: IO[str], ranks: int = 1
) -> AbstractContextManager[Child]:
    """A child that runs ``python -m module job`` on the machine's devices, in that many processes
    if they are not srun's."""
    if context.device == "cpu" and context.plan.machine.nodes == 1 and not by_srun():
        return forked(module, job, output, ranks, **ONE_THREAD)
    launcher = _launcher(context.plan.machine) if ranks > 1 else []
    command = [sys.executable, *launcher, "-m", module, str(job)]
    return running(command, job, output, **ONE_THREAD)


def _launcher(machine: Machine) -> list[str]:
    """What starts the processes: torchrun, unless one or srun's. UserError: neither can."""
    if machine.training_processes == 1 or by_srun():
        return []
    if machine.nodes > 1:
        raise UserError(submit_instead(machine))
    torchrun = ["-m", "torch.distributed.run", "--standalone"]
    return [*torchrun, "--nproc_per_node", str(machine.training_processes)]


def job_path(run_dir: Path, case_id: str) -> Path:
    return run_dir / "jobs" / f"{case_id}.json"


def _explain(log: Path, case: str) -> None:
    """Raise what the log says. KeyboardInterrupt: SIGTERM stopped it, it is to be continued."""
    stopped, mistake = said(log, "stopped: "), said(log, "error: ")
    if stopped:
        raise KeyboardInterrupt(stopped)
    if mistake:
        raise UserError(mistake)
    raise RuntimeError(f"{case} failed: {reason(log)} (the whole log: {log})")


def _last_line(path: Path, newer_than: float = 0.0) -> dict[str, Any] | None:
    """The last whole line of a metrics file that was written to after ``newer_than`` (epoch s)."""
    if not path.is_file() or path.stat().st_mtime < newer_than:
        return None
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 4096))
        lines = file.read().split(b"\n")
    return json.loads(lines[-2]) if len(lines) > 1 and lines[-2].startswith(b"{") else None
