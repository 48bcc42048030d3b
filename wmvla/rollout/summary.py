"""Finished episodes in the shape of LeRobot's ``eval_info.json``."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wmvla.recipe import EpisodeRow
from wmvla.rollout.journal import Row
from wmvla.rollout.tally import succeeded

Info = dict[str, Any]


def lerobots_summary(
    rows: Sequence[EpisodeRow],
    recorded: Mapping[int, Row],
    seconds: float,
    episodes: int,
    video: Callable[[EpisodeRow], Path],
) -> Info:
    """What ``lerobot.scripts.lerobot_eval.eval_policy_all`` returns, and what could not be played
    under ``not_played``.

    Args:
        rows: the table, the episodes of a task in their order. recorded: finished episodes by
        index. seconds: wall time of this command, in which it played ``episodes``. video: where an
        episode's film would be.

    Non-obvious: LIBERO's reward is 1 at the step that succeeds, which is the episode's last, and 0
    before. Episodes with an error or a timeout are in none of LeRobot's numbers.
    """
    per_task = []
    finished = _with_status(rows, recorded, {"ok"})
    for suite, task in dict.fromkeys((row.suite, row.task) for row in rows):
        played = [row for row in finished if (row.suite, row.task) == (suite, task)]
        successes = [succeeded(recorded[row.index]) for row in played]
        metrics = {
            "sum_rewards": [float(success) for success in successes],
            "max_rewards": [float(success) for success in successes],
            "successes": successes,
            "video_paths": [str(video(row)) for row in played if video(row).exists()],
            "predicted_video_paths": [],
        }
        per_task.append({"task_group": suite, "task_id": task, "metrics": metrics})
    groups = dict.fromkeys(task["task_group"] for task in per_task)
    times = {"eval_s": seconds, "eval_ep_s": seconds / max(1, episodes)}
    return {
        "per_task": per_task,
        "per_group": {
            name: _aggregated([task for task in per_task if task["task_group"] == name])
            for name in groups
        },
        "overall": _aggregated(per_task, times),
        "not_played": [
            {
                "task_group": row.suite,
                "task_id": row.task,
                "seed": row.env_seed,
                "status": recorded[row.index]["status"],
                "error": recorded[row.index]["error"],
            }
            for row in _with_status(rows, recorded, {"error", "timeout"})
        ],
    }


def summary_lines(info: Info) -> Iterator[str]:
    """LeRobot's lines, one for every task, and one for what was not played."""
    yield f"Overall Aggregated Metrics:\n{info['overall']}"
    for group, metrics in info["per_group"].items():
        yield f"\nAggregated Metrics for {group}:\n{metrics}"
    yield ""
    succeeded = 0
    for task in info["per_task"]:
        successes = task["metrics"]["successes"]
        succeeded += sum(successes)
        name = f"{task['task_group']} task {task['task_id']}"
        yield f"{name}: {sum(successes)} of {len(successes)} succeeded"
    if troubles := info["not_played"]:
        first, every = troubles[0], info["overall"]["n_episodes"] + len(troubles)
        yield (
            f"{len(troubles)} of {every} episodes could not be played and are in none of these"
            " numbers. As failures or as successes they would put the rate between"
            f" {100 * succeeded / every:.1f} and {100 * (succeeded + len(troubles)) / every:.1f} %."
            f" The first: {first['task_group']} task {first['task_id']}, seed {first['seed']},"
            f" {first['status']}: {first['error']}"
        )


def _with_status(
    rows: Sequence[EpisodeRow], recorded: Mapping[int, Row], statuses: set[str]
) -> list[EpisodeRow]:
    return [
        row for row in rows if row.index in recorded and recorded[row.index]["status"] in statuses
    ]


def _aggregated(tasks: Sequence[Info], times: dict[str, float] | None = None) -> Info:
    """LeRobot's means over the tasks' episodes; NaN where there are none."""
    lists = {
        key: [value for task in tasks for value in task["metrics"][key]]
        for key in tasks[0]["metrics"]
    }
    mean = {
        key: float(np.mean(lists[key])) if lists[key] else float("nan")
        for key in ("sum_rewards", "max_rewards", "successes")
    }
    return {
        "avg_sum_reward": mean["sum_rewards"],
        "avg_max_reward": mean["max_rewards"],
        "pc_success": 100 * mean["successes"],
        "n_episodes": len(lists["successes"]),
        **(times or {}),
        "video_paths": lists["video_paths"],
        "predicted_video_paths": lists["predicted_video_paths"],
    }
