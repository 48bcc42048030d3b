"""The episode table: the rows that every arm, rollout mode and training seed plays."""

from dataclasses import dataclass

from bench.seeds import derive_seed
from wmvla.recipe import Recipe


@dataclass(frozen=True)
class Episode:
    """One row of the episode table. Every arm, rollout mode and training seed plays every row."""

    index: int
    suite: str
    task: int
    init: int
    env_seed: int
    """Equal for all repeats of a (suite, task, init): they start from one scene."""
    noise_seed: int
    """Root of the policy's noise stream in this episode; equal for all arms (paired by construction)."""
    repeat: int


def make_episode_table(recipe: Recipe) -> tuple[Episode, ...]:
    """`rollout.episodes` rows for each task, over the initial states in order, then over them again."""
    suite, rollout = recipe.environment.suite, recipe.rollout
    rows: list[Episode] = []
    for task in recipe.environment.tasks:
        for episode in range(rollout.episodes):
            repeat, position = divmod(episode, len(rollout.inits))
            init = rollout.inits[position]
            rows.append(
                Episode(
                    index=len(rows),
                    suite=suite,
                    task=task,
                    init=init,
                    env_seed=derive_seed(rollout.env_seed, "env", suite, task, init),
                    noise_seed=derive_seed(rollout.noise_seed, "noise", suite, task, init, repeat),
                    repeat=repeat,
                )
            )
    return tuple(rows)
