"""Why two runs, or a run and a table, cannot be compared in some way: parts of sentences."""

from collections.abc import Sequence

from bench.wording.text import listed

MOST_REASONS = 3


def no_episode_in_common() -> str:
    return (
        "their plans have no episode in common (task, initial state, seeds of environment and"
        " noise)"
    )


def no_seed_in_common(one: Sequence[int], other: Sequence[int]) -> str:
    return (
        f"they have no training seed in common ({', '.join(map(str, one))} and"
        f" {', '.join(map(str, other))})"
    )


def other_scene(suite: str, task: int, init: int) -> str:
    return (
        f"{suite}, task {task}, init {init} began in a different scene: another simulator or "
        "machine played it"
    )


def not_a_run(name: str) -> str:
    return f"{name} has no single episodes, only success rates"


def other_tasks(ours: Sequence[str], theirs: Sequence[str]) -> str:
    return f"they play different tasks: {listed(ours)} and {listed(theirs)}"


def total_of_other_tasks(tasks: int) -> str:
    return f"only the total of {tasks} tasks is known, and the run plays other tasks"


def no_episode_yet(name: str) -> str:
    return f"{name} has not finished any episode of it"


def cannot_be_paired(baseline: str, other: str, why: str) -> str:
    return (
        f"{baseline} and {other} cannot be paired: {why}; give --unpaired to compare them as"
        " they are"
    )


def nothing_to_compare(baseline: str, other: str, reasons: Sequence[str]) -> str:
    told = list(dict.fromkeys(reasons))
    more = f"; and {len(told) - MOST_REASONS} more reasons" if len(told) > MOST_REASONS else ""
    return (
        f"{baseline} and {other} have nothing that can be compared: "
        f"{'; '.join(told[:MOST_REASONS])}{more}"
    )


def not_in_its_plan() -> str:
    return "its plan does not have it"


def no_pair_yet() -> str:
    return "no common episode is finished in both"


def not_recorded(name: str) -> str:
    return f"{name} does not record it"
