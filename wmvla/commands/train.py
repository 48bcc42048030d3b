"""``lerobot-wm-train``: LeRobot's own training with the reference project's flags."""

import sys
from collections.abc import Sequence
from pathlib import Path

from lerobot.configs import PreTrainedConfig
from lerobot.configs.train import TrainPipelineConfig
from lerobot.processor import PolicyProcessorPipeline

from wmvla.commands.lerobot_main import (
    parse,
    parse_policy,
    require_at_least_one,
    run,
    value_of,
    without,
)
from wmvla.commands.rename_map import needed_renames
from wmvla.data.opening import locate, open_dataset
from wmvla.data.stored import read_as_stored
from wmvla.errors import UserError
from wmvla.policy.configuration_smolvla_world import SmolVLAWorldConfig
from wmvla.policy.processor_smolvla_world import latents_step
from wmvla.policy.weights import checkpoint_folder
from wmvla.train.start import refuse_other_dataset

PROGRAM = "lerobot-wm-train"


def main(arguments: Sequence[str] | None = None) -> int:
    """Train as ``lerobot-train`` does; 0, or 2 after one line on stderr."""
    return run(PROGRAM, train, arguments)


def train(arguments: list[str]) -> None:
    """Run LeRobot's training with joined ``arguments``."""
    from lerobot.scripts.lerobot_train import train as lerobot_train

    config = parse(TrainPipelineConfig, lerobots_arguments(arguments), PROGRAM)
    require_at_least_one({"steps": config.steps, "batch_size": config.batch_size})
    if config.env is not None and config.env.type == "libero":
        from wmvla.sim.libero.assets import prepare_libero

        prepare_libero()
    if not config.dataset.streaming:
        open_data_of(config)
    with read_as_stored():
        lerobot_train(config)


def open_data_of(config: TrainPipelineConfig) -> None:
    """Open the dataset as strictly as our own training does, and set where it lies.

    Raises:
        UserError: it is not whole; it lacks an episode that is asked for; the latents are those of
        another one.
    """
    asked = config.dataset
    root = Path(asked.root) if asked.root else None
    _, place = locate(root, asked.repo_id, asked.revision)
    metadata = open_dataset(asked.repo_id, place, asked.revision)[0].meta
    asked.root = None if place is None else str(place)
    for episode in asked.episodes or []:
        if episode >= metadata.total_episodes:
            raise UserError(
                f"--dataset.episodes: there is no episode {episode}: {asked.repo_id} has"
                f" {metadata.total_episodes}, 0 to {metadata.total_episodes - 1}."
            )
    if isinstance(config.policy, SmolVLAWorldConfig):
        step = latents_step(config.policy)
        if Path(step.path).is_file():
            refuse_other_dataset(PolicyProcessorPipeline([step]), metadata)


def lerobots_arguments(arguments: list[str]) -> list[str]:
    """The reference's flags as LeRobot knows them.

    A policy that starts from a SmolVLA takes ``--rename_map`` as a field, because LeRobot allows it
    beside ``--policy.path`` only; for a checkpoint that asks for the data's own names it is left
    out.
    """
    source, rename_map = value_of("policy.path", arguments), value_of("rename_map", arguments)
    if source:
        # LeRobot looks at these flags after it has begun, and prints its whole usage when one is
        # wrong
        parse_policy(PreTrainedConfig, arguments, str(checkpoint_folder(source)))
        return needed_renames(arguments, source)
    if rename_map is None or not value_of("policy.init_from_policy_path", arguments):
        return arguments
    return [*without("rename_map", arguments), f"--policy.init_rename_map={rename_map}"]


if __name__ == "__main__":
    sys.exit(main())
