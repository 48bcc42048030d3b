"""The episode table: the rows that every arm, rollout mode and training seed plays."""

import itertools
from collections.abc import Iterator

from bench.plan.seeds import derive_seed, seeds_by_label
from wmvla.recipe import EpisodeRow, Recipe

Fields = tuple[int, str, int, int, int, int, int]
"""Of an `EpisodeRow`, in its order."""


def make_episode_table(recipe: Recipe) -> tuple[EpisodeRow, ...]:
    """`rollout.episodes` rows for each task, over the initial states in order, again and again."""
    return tuple(EpisodeRow(*fields) for fields in table_fields(recipe))


def table_fields(recipe: Recipe) -> Iterator[Fields]:
    """The rows of `make_episode_table` as plain tuples: of many rows a fraction of the time."""
    suite, rollout = recipe.environment.suite, recipe.rollout
    index = itertools.count()
    for task in recipe.environment.tasks:
        env_seeds = [
            derive_seed(rollout.env_seed, "env", suite, task, init) for init in rollout.inits
        ]
        noise_seeds = [
            seeds_by_label(rollout.noise_seed, "noise", suite, task, init) for init in rollout.inits
        ]
        for episode in range(rollout.episodes):
            repeat, position = divmod(episode, len(rollout.inits))
            init, noise_seed = rollout.inits[position], noise_seeds[position](repeat)
            yield next(index), suite, task, init, env_seeds[position], noise_seed, repeat
