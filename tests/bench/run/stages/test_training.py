"""The training stage says why its processes failed, and what of an earlier attempt is damaged."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from synthetic_run import core_plan, rows_of

from bench.record.journal import journal_path
from bench.run.stages import training
from bench.run.stages.context import Context
from bench.run.stages.training import _explain, _last_line
from bench.run.stages.watched import latest_attempt, log_of_attempt
from wmvla.errors import UserError
from wmvla.rollout.journal import Journal
from wmvla.train.job import TrainingJob


def test_a_mistake_in_the_log_is_told_in_its_own_words(tmp_path: Path):
    log = tmp_path / "E2-train-s0.log"
    log.write_text(
        "a warning\nerror: World latents are missing: x does not exist.\nerror: told by the other"
        " process\n"
    )
    with pytest.raises(UserError, match=r"^World latents are missing: x does not exist\.$"):
        _explain(log, "E2-train-s0")


def test_a_training_that_sigterm_stopped_did_not_fail(tmp_path: Path):
    log = tmp_path / "E2-train-s0.log"
    told = (
        "E2-train-s0 was asked to stop and did after step 7 of 9, with a checkpoint: continue with"
        " the same command."
    )
    log.write_text(f"a warning\nstopped: {told}\nSignalException: Process 1 got signal: 15\n")
    with pytest.raises(KeyboardInterrupt) as caught:
        _explain(log, "E2-train-s0")
    assert str(caught.value) == told


def test_a_crash_names_the_last_error_and_the_log(tmp_path: Path):
    log = tmp_path / "E2-train-s0.log"
    launcher = "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: "
    log.write_text(f"Traceback\nRuntimeError: out of memory at step 7\n{launcher}\n")
    with pytest.raises(
        RuntimeError, match=r"E2-train-s0 failed: RuntimeError: .* step 7 \(the whole log: "
    ) as caught:
        _explain(log, "E2-train-s0")
    assert not isinstance(caught.value, UserError)


def test_the_reason_is_the_innermost_error_of_the_rank_that_failed_first(tmp_path: Path) -> None:
    """As two processes of torchrun leave it: the launcher's own source line ends the log."""
    log = tmp_path / "E2-train-s0.log"
    log.write_text(
        """A LateWarning: no Error at all
Traceback (most recent call last):
  File "loop.py", line 7, in train
    raise ValueError("a source line")
ZeroDivisionError: division by zero

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
RuntimeError: the step failed
[rank1]: Traceback (most recent call last):
[rank1]: RuntimeError: Connection closed by peer
Traceback (most recent call last):
  File "api.py", line 299, in launch_agent
    raise ChildFailedError(
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
"""
    )
    with pytest.raises(RuntimeError, match=r"^E2-train-s0 failed: ZeroDivisionError: .* zero \("):
        _explain(log, "E2-train-s0")
    log.write_text("[rank1]: Traceback (most recent call last):\n[rank1]: KeyError: 'x'\n")
    with pytest.raises(RuntimeError, match=r"^E2-train-s0 failed: KeyError: 'x' "):
        _explain(log, "E2-train-s0")
    log.write_text("=== begins at now\nKilled\n")
    with pytest.raises(RuntimeError, match=r"^E2-train-s0 failed: Killed \("):
        _explain(log, "E2-train-s0")


def test_what_an_earlier_attempt_said_is_kept_and_not_said_again(tmp_path: Path) -> None:
    log = tmp_path / "E2-train-s0.log"
    with log_of_attempt(log) as output:
        output.write("error: the disk is full\n")
    with log_of_attempt(log) as output:
        output.write("RuntimeError: out of memory\n")
    with pytest.raises(RuntimeError, match=r"failed: RuntimeError: out of memory") as caught:
        _explain(log, "E2-train-s0")
    assert not isinstance(caught.value, UserError)
    assert "the disk is full" in log.read_text()


@pytest.mark.parametrize(
    ("lines", "found"), [("", "has no whole line"), ('{"step": 1}\n', "ends at step 1")]
)
def test_an_emptied_metrics_file_is_one_line_with_the_fix(
    tmp_path: Path, lines: str, found: str
) -> None:
    plan = core_plan("smoke")
    steps = plan.recipe.training.steps
    context = Context(plan, tmp_path, None)
    folder, metrics = tmp_path / "checkpoints" / "E2-train-s0", tmp_path / "m.jsonl"
    (folder / f"{steps:06d}").mkdir(parents=True)
    metrics.write_text(lines)
    folders = {
        "dataset_root": "",
        "dataset_repo_id": "",
        "checkpoints": str(folder),
        "metrics": str(metrics),
    }
    job = TrainingJob(
        case="E2-train-s0", seed=0, training=plan.recipe.training, base="base", **folders
    )
    with pytest.raises(UserError) as told:
        training.run_job(context, job)
    assert (
        str(told.value) == f"{metrics}: {found}, and the checkpoint beside it is of step {steps};"
        f" put the file back as it was, or remove {folder} to train again"
    )


def test_what_a_killed_training_left_is_removed_though_nothing_is_left_to_train(
    tmp_path: Path,
) -> None:
    plan = core_plan("smoke")
    steps, folder, metrics = plan.recipe.training.steps, tmp_path / "E2", tmp_path / "m.jsonl"
    for step in (steps - 1, steps):
        (folder / f"{step:06d}").mkdir(parents=True)
    metrics.write_text(f'{{"step": {steps}}}\n')
    job = TrainingJob(
        case="E2-train-s0", seed=0, training=plan.recipe.training, base="base", dataset_root="",
        dataset_repo_id="", checkpoints=str(folder), metrics=str(metrics),
    )  # fmt: skip
    training.run_job(Context(plan, tmp_path, None), job)
    assert [path.name for path in folder.iterdir()] == [f"{steps:06d}"]


def test_progress_reads_only_what_this_run_wrote(tmp_path: Path):
    metrics = tmp_path / "metrics.jsonl"
    assert _last_line(metrics) is None
    metrics.write_text('{"step": 1}\n{"step": 2}\n{"step"')
    assert _last_line(metrics) == {"step": 2}
    assert _last_line(metrics, newer_than=metrics.stat().st_mtime + 1) is None


FAILS = (
    "print('Traceback (most recent call last):\\nRuntimeError: Connection closed by peer',"
    " flush=True)"
)


@pytest.mark.parametrize(
    ("prints", "raised"),
    [(FAILS, RuntimeError), ("print('loading', flush=True)", KeyboardInterrupt)],
)
def test_sigterm_after_another_rank_failed_is_no_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prints: str, raised: type[BaseException]
) -> None:
    """srun sends it to all ranks where one fails. It ends this rank's process, whose exit code then
    says nothing."""
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    plan = core_plan("smoke")
    context = Context(plan, tmp_path, None)
    folders = {
        "dataset_root": "",
        "dataset_repo_id": "",
        "checkpoints": str(tmp_path),
        "metrics": str(tmp_path / "m.jsonl"),
    }
    job = TrainingJob(
        case="E2-train-s0", seed=0, training=plan.recipe.training, base="base", **folders
    )
    log, running = context.log_path(job.case), training.running

    def sigterm(*given: object) -> Iterator[None]:
        deadline = time.monotonic() + 60
        while latest_attempt(log).count("\n") < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        raise KeyboardInterrupt("SIGTERM")
        yield

    code = f"import signal; {prints}; signal.pause()"
    monkeypatch.setattr(
        training,
        "running",
        lambda command, *rest, **more: running([sys.executable, "-c", code], *rest, **more),
    )
    monkeypatch.setattr(training, "wait_while_alive", sigterm)
    with pytest.raises(
        raised, match="Connection closed by peer" if raised is RuntimeError else "SIGTERM"
    ):
        training.run_job(context, job)


def test_no_training_is_made_again_whose_lost_checkpoint_has_played(tmp_path: Path):
    plan = core_plan("smoke")
    context = Context(plan, tmp_path / "results" / "run", show=None)
    player = plan.case("E2-zero-s0")
    row, *_ = rows_of(plan, player, [True, *[None] * (len(plan.episodes) - 1)])
    Journal(journal_path(context.run_dir, player.id)).append(row)
    with pytest.raises(UserError) as refused:
        training.run(context, plan.case("E2-train-s0"))
    assert str(refused.value) == (
        f"{context.run_dir / 'checkpoints' / 'E2-train-s0'}: the checkpoint is gone, but "
        "episodes that it played are recorded; put it back, or remove "
        "episodes/E2-zero-s0.jsonl in the run directory to train and play again"
    )
    with pytest.raises(
        FileNotFoundError, match="base"
    ):  # of E0 nothing was played: it is trained, from a base that is not here
        training.run(context, plan.case("E0-train-s0"))
