"""Why two runs, or a run and a table, cannot be compared in some way: parts of sentences."""

from collections.abc import Sequence

from bench.wording.text import listed


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


def other_tasks(ours: Sequence[str], theirs: Sequence[str]) -> str:
    return f"they play different tasks: {listed(ours)} and {listed(theirs)}"
