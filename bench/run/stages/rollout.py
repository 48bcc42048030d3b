"""Rollouts: the plan's episodes, or a shard of them, played by one checkpoint in one mode."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bench.formats.checksums import checkpoint_made, sha256_of
from bench.plan.cases import Case
from bench.record.journal import (
    check_against_plan,
    check_scene,
    check_scenes,
    journal_path,
    read_journals,
)
from bench.record.privacy import anonymous
from bench.record.provenance import refuse_another_renderer
from bench.run.stages.context import Context
from wmvla.errors import UserError
from wmvla.resources import local_rank
from wmvla.rollout.journal import Journal, Row, journal_files, read_all, shard_journal_path
from wmvla.rollout.shard import rows_of
from wmvla.rollout.tally import tally

if TYPE_CHECKING:
    from wmvla.recipe import EpisodeRow
    from wmvla.rollout.episode import EpisodeRecord
    from wmvla.rollout.policy import RolloutPolicy
    from wmvla.rollout.worker import Simulators


def run(
    context: Context, case: Case, episodes: Sequence["EpisodeRow"] | None = None
) -> dict[str, Any]:
    """Play the episodes that no journal of the case has; figures: how many, successes, CPU time.
    ``played`` of them here, by ``rollout_workers`` simulators. ``episodes``: wanted; None: all."""
    path = journal_path(context.run_dir, case.id)
    mine = rows_of(context.shard, context.plan.episodes if episodes is None else episodes)
    indices = {row.index for row in mine}

    def recorded() -> list[Row]:
        rows = read_all(path)
        check_against_plan(context.plan, case, rows)
        return [row for row in rows if row["index"] in indices]

    before = recorded()
    finished = {row["index"] for row in before}
    todo = [row for row in mine if row.index not in finished]
    workers = _play(context, case, todo, before) if todo else None
    lines = recorded()
    return {
        "artefacts": {file.name: file.resolve() for file in journal_files(path)},
        "episodes": len(lines),
        "succeeded": tally(lines).successes,
        "episode_cpu_seconds": round(sum(row["cpu_seconds"] for row in lines), 3),
        "played": len(todo),
        "rollout_workers": workers,
    }


def _play(context: Context, case: Case, todo: list["EpisodeRow"], before: list[Row]) -> int:
    """Play rows into the journal, after those recorded `before`; the number of simulator processes.
    Raises UserError where another renderer drew the run's frames, and at the first episode whose
    scene is not the other rollouts': the rest would be played for nothing."""
    from wmvla.rollout.engine import roll_out

    refuse_another_renderer(context.run_dir)
    workers = context.simulators(len(todo), policy_on_gpu=context.device != "cpu")
    journal = Journal(shard_journal_path(journal_path(context.run_dir, case.id), context.shard))
    scenes = check_scenes(dict(read_journals(context.plan, context.run_dir)))
    policy = open_policy(context, case, largest_batch=1 if context.deterministic else None)
    label = case.id if context.shard is None else f"{case.id} {context.shard}"
    played = tally(before)
    progress = context.progress(label, played.episodes + len(todo), played.episodes)

    def on_episode(row: "EpisodeRow", record: "EpisodeRecord") -> None:
        nonlocal played
        line = cast(Row, {**asdict(row), "case": case.id, **asdict(record)})
        line["error"] = None if record.error is None else anonymous(record.error)
        check_scene(scenes, case.id, line)
        journal.append(line)
        played += tally([line])
        succeeded = f"{played.successes}/{played.episodes} succeeded"
        progress.update(
            played.episodes, f"{succeeded}, {workers} simulator{'s' if workers > 1 else ''}"
        )

    with context.simulator_logs(case.id) as logs:
        roll_out(todo, policy, simulators_of(context, policy, logs), workers, on_episode)
    return workers


def open_policy(context: Context, case: Case, largest_batch: int | None) -> "RolloutPolicy":
    """The rollout's checkpoint in its mode, on the GPU of this rank of torchrun, if it is one.
    ``largest_batch``: queries answered together at most; None: the device's number."""
    from wmvla.rollout.policy import RolloutPolicy

    rank, ranks = local_rank()
    if context.device != "cpu" and ranks > 1:
        import torch

        torch.cuda.set_device(rank % torch.cuda.device_count())
    checkpoint, steps = checkpoint_of(context, case), context.plan.recipe.rollout.n_action_steps
    return RolloutPolicy(
        checkpoint, str(case.mode), steps, context.device, largest_batch=largest_batch
    )


def simulators_of(
    context: Context, policy: "RolloutPolicy", logs: Path, film: bool = False
) -> "Simulators":
    """How the plan's environment is played for that policy."""
    from wmvla.rollout.worker import Simulators
    from wmvla.sim.suites import can_be_forked, make_simulation

    environment, cameras = context.plan.recipe.environment, policy.world_cameras
    return Simulators(
        environment, policy.world_frames, cameras, make_simulation, film, logs, can_be_forked()
    )


def checkpoint_of(context: Context, case: Case) -> Path:
    """The checkpoint of the case's arm, as its training left it. UserError if it changed since.
    Non-obvious: it is hashed each time before it is loaded. A record without sums is believed."""
    training = case.needs[0]
    record = json.loads((context.run_dir / "cases" / f"{training}.json").read_text())
    folder, made = context.absolute(record["artefacts"])["checkpoint"], checkpoint_made(record)
    if made is None:
        return folder
    try:
        now = sha256_of(folder)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be read: {error.strerror}; {_remedy(context, training)}"
        ) from None
    if now != made:
        why = f"its checksum is {now[:12]}..., not {made[:12]}... as cases/{training}.json says"
        raise UserError(
            f"{folder}: changed after {training} ended: {why}; {_remedy(context, training)}"
        )
    return folder


def journals_played_by(context: Context, training: str) -> list[Path]:
    """The journals, of shards too, of the rollouts that play what a training makes."""
    players = (case.id for case in context.plan.rollout_cases() if training in case.needs)
    return [file for case in players for file in journal_files(journal_path(context.run_dir, case))]


def _remedy(context: Context, training: str) -> str:
    """Non-obvious: no journal may hold episodes of a training and of its repetition."""
    journals = [f"episodes/{file.name}" for file in journals_played_by(context, training)]
    gone = " ".join([f"checkpoints/{training}", *journals])
    return (
        f"put its files back as they were, or remove {gone} in the run directory to train and play"
        " again"
    )
