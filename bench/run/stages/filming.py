"""Films: episodes played again, each compared with its journal line, and written as mp4."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench.plan.cases import Case
from bench.record.journal import episode_name
from bench.run.film_choice import Films, outcome
from bench.run.stages.context import Context
from bench.run.stages.rollout import open_policy, simulators_of
from wmvla.rollout.journal import Row

if TYPE_CHECKING:
    from wmvla.recipe import EpisodeRow
    from wmvla.rollout.episode import EpisodeRecord

OnFilm = Callable[[Row, NDArray[np.uint8]], None]


def run(
    context: Context, films: Films, rows: Mapping[str, Mapping[int, Row]]
) -> tuple[list[Path], list[str]]:
    """Make the films into ``videos/``; `rows` are the journals' by case and index. Returns the
    files that are there, and a sentence for each episode that went otherwise."""
    from wmvla.rollout.film import side_by_side, write_film

    folder = context.run_dir / "videos"
    alone = {(case, index): folder / f"{case}-{index}.mp4" for case, index in films.single}
    beside = {pair: folder / "{}-vs-{}-{}.mp4".format(*pair) for pair in films.pairs}
    refused: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:

        def frames_of(case_id: str, index: int) -> Path:
            return Path(scratch) / f"{case_id}-{index}.npy"

        lacking = Films(
            tuple(one for one, path in alone.items() if not path.exists()),
            tuple(pair for pair, path in beside.items() if not path.exists()),
        )
        paired = {(case, index) for left, right, index in lacking.pairs for case in (left, right)}
        for case_id, indices in lacking.episodes().items():

            def on_film(row: Row, frames: NDArray[np.uint8], case_id: str = case_id) -> None:
                one = case_id, row["index"]
                if one in lacking.single:
                    write_film(alone[one], frames)
                if one in paired:
                    np.save(frames_of(*one), frames)

            case, again = context.plan.case(case_id), {i: rows[case_id][i] for i in indices}
            refused += _play_again(context, case, again, on_film)
        for left, right, index in lacking.pairs:
            files = [frames_of(case_id, index) for case_id in (left, right)]
            if all(file.exists() for file in files):
                labels = [f"{case}\n{outcome(rows[case][index])}" for case in (left, right)]
                film = side_by_side(*map(np.load, files), *labels)
                write_film(beside[left, right, index], film)
    return [path for path in (*alone.values(), *beside.values()) if path.exists()], refused


def _play_again(
    context: Context, case: Case, recorded: Mapping[int, Row], on_film: OnFilm
) -> list[str]:
    """Play rows of a rollout: ``on_film(journal row, frames (T, H, W, 3))``, or why there is none.
    Non-obvious: the policy answers one query at a time. What was played in batches may differ."""
    from wmvla.rollout.engine import roll_out

    policy = open_policy(context, case, largest_batch=1)
    progress = context.progress(f"film {case.id}", len(recorded))
    frames_of: dict[int, NDArray[np.uint8]] = {}
    refused: list[str] = []
    done = 0

    def keep(row: "EpisodeRow", frames: NDArray[np.uint8]) -> None:
        frames_of[row.index] = frames

    def on_episode(row: "EpisodeRow", record: "EpisodeRecord") -> None:
        nonlocal done
        line, frames = recorded[row.index], frames_of.pop(row.index, None)
        difference = _difference(line, record)
        if difference:
            refused.append(f"{episode_name(case.id, line)}: no film: {difference}")
        else:
            assert frames is not None, "an episode that was played has frames"
            on_film(line, frames)
        done += 1
        progress.update(done)

    rows = [row for row in context.plan.episodes if row.index in recorded]
    workers = context.simulators(len(rows), policy_on_gpu=context.device != "cpu")
    with context.simulator_logs(case.id) as logs:
        simulators = simulators_of(context, policy, logs, film=True)
        roll_out(rows, policy, simulators, workers, on_episode, on_film=keep)
    return refused


def _difference(row: Row, record: "EpisodeRecord") -> str | None:
    """What went otherwise than recorded, or None."""
    if record.status != "ok":
        return f"when played again it ended in {record.status}: {record.error}"
    if record.scene_hash != row["scene_hash"]:
        why = "it was recorded on another machine or version"
        return f"when played again it begins in a different scene; {why}"
    again: Row = {**row, "success": record.success, "steps": record.steps}
    if again == row:
        return None
    sentence = f"when played again it is {outcome(again)}, but the journal says {outcome(row)}"
    if (batch := row.get("policy_batch", 1)) > 1:
        sentence += (
            f"; its actions were computed in batches of up to {batch}, and computed alone "
            "their last bits may differ"
        )
    return sentence
