"""LeRobot 0.6.1's ``eval_info.json``, and ``lerobot-wm-eval``'s, as an external result.
Non-obvious: its episodes have no seed, no initial state, no scene: equal commands may differ."""

import hashlib
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from bench.compare.external_words import IMPORT_FLAWS, IMPORT_NAME
from bench.record.external import EXTERNAL_VERSION, External, Table, TaskCount, external_from
from wmvla.errors import UserError


def read_eval_info(path: Path, rollout: str) -> External:
    """An ``eval_info.json`` as results of `rollout`, a table a suite. UserError names the key."""
    try:
        content = path.read_bytes()
        info = json.loads(content)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise UserError(f"{path}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid JSON: {error}") from None
    tasks = info.get("per_task") if isinstance(info, dict) else None
    if not isinstance(tasks, list) or not tasks:
        raise UserError(
            f"{path}: not an eval_info.json of lerobot 0.6 (it has no list 'per_task'); give the "
            "file that lerobot-eval wrote"
        )
    counts: dict[str, list[TaskCount]] = defaultdict(list)
    for i, task in enumerate(tasks):
        suite, count = _task(task, f"{path}: 'per_task[{i}]'")
        if count.episodes:  # none of a task that could not be played at all
            counts[suite].append(count)
    _check_totals(info, counts, path)
    if not counts:
        raise UserError(f"{path}: it has no episodes; there is nothing to import")
    broken = _not_played(info.get("not_played", []), path)
    external = External(
        version=EXTERNAL_VERSION,
        kind="lerobot",
        name=IMPORT_NAME,
        source=(f"LeRobot's evaluation, as written in {path.name}; imported, not played here."),
        flaws=IMPORT_FLAWS,
        tables=tuple(_table(rollout, suite, each, broken[suite]) for suite, each in counts.items()),
        file_sha256=hashlib.sha256(content).hexdigest(),
    )
    return external_from(external.to_json(), str(path))


def _task(task: Any, where: str) -> tuple[str, TaskCount]:
    """A suite, and what was solved in one of its tasks."""
    task = task if isinstance(task, dict) else {}
    if not isinstance(task.get("task_group"), str) or type(task.get("task_id")) is not int:
        raise UserError(f"{where} must have a string 'task_group' and an integer 'task_id'")
    metrics = task.get("metrics")
    successes = metrics.get("successes") if isinstance(metrics, dict) else None
    if not isinstance(successes, list) or not all(type(success) is bool for success in successes):
        raise UserError(
            f"{where} must have 'metrics.successes', a list of true and false for each episode"
        )
    return task["task_group"], TaskCount(task["task_id"], len(successes), sum(successes))


def _check_totals(info: dict[str, Any], counts: dict[str, list[TaskCount]], path: Path) -> None:
    """What the file says of all tasks together, and of each suite's, must be what its tasks say."""
    groups = info.get("per_group")
    whole = [count for each in counts.values() for count in each]
    for key, figures, tasks in (
        ("overall", info.get("overall"), whole),
        *(
            (f"per_group.{suite}", found, counts.get(suite, []))
            for suite, found in (groups if isinstance(groups, dict) else {}).items()
        ),
    ):
        episodes = sum(count.episodes for count in tasks)
        rate = 100 * sum(count.successes for count in tasks) / episodes if episodes else None
        said = figures if isinstance(figures, dict) else {}
        if said.get("n_episodes") != episodes:
            raise UserError(
                f"{path}: '{key}.n_episodes' is {said.get('n_episodes')!r}, but its tasks have"
                f" {episodes}; the file was cut or changed"
            )
        success = said.get("pc_success", rate)
        agrees = isinstance(success, int | float) and abs(success - (rate or 0)) < 0.01
        if rate is not None and not agrees:
            raise UserError(
                f"{path}: '{key}.pc_success' is {success!r}, but its tasks have {rate:g} %; the"
                " file was cut or changed"
            )


def _not_played(episodes: Any, path: Path) -> Counter[str]:
    """Episodes by suite that ``lerobot-wm-eval`` could not play; stock LeRobot stops instead."""
    if not isinstance(episodes, list) or not all(
        isinstance(each, dict) and isinstance(each.get("task_group"), str) for each in episodes
    ):
        raise UserError(f"{path}: 'not_played' must be a list of episodes with a 'task_group' each")
    return Counter(each["task_group"] for each in episodes)


def _table(rollout: str, suite: str, counts: list[TaskCount], not_played: int) -> Table:
    return Table(
        rollout=rollout,
        label="imported",
        suite=suite,
        tasks=tuple(count.task for count in counts),
        episodes=sum(count.episodes for count in counts),
        successes=sum(count.successes for count in counts),
        by_task=tuple(counts),
        not_played=not_played,
    )
