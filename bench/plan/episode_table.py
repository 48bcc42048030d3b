"""The episode table: the rows that every arm, rollout mode and training seed plays."""

from bench.plan.seeds import derive_seed
from wmvla.recipe import EpisodeRow, Recipe


def make_episode_table(recipe: Recipe) -> tuple[EpisodeRow, ...]:
    """`rollout.episodes` rows for each task, over the initial states in order, then over them
    again."""
    suite, rollout = recipe.environment.suite, recipe.rollout
    rows: list[EpisodeRow] = []
    for task in recipe.environment.tasks:
        env_seeds = [
            derive_seed(rollout.env_seed, "env", suite, task, init) for init in rollout.inits
        ]
        for episode in range(rollout.episodes):
            repeat, position = divmod(episode, len(rollout.inits))
            init = rollout.inits[position]
            rows.append(
                EpisodeRow(
                    index=len(rows),
                    suite=suite,
                    task=task,
                    init=init,
                    env_seed=env_seeds[position],
                    noise_seed=derive_seed(rollout.noise_seed, "noise", suite, task, init, repeat),
                    repeat=repeat,
                )
            )
    return tuple(rows)
