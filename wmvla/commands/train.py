"""``lerobot-wm-train``: LeRobot's own training with the reference project's flags."""

import sys
from collections.abc import Sequence

from lerobot.configs import PreTrainedConfig
from lerobot.configs.train import TrainPipelineConfig

from wmvla.commands.lerobot_main import (
    parse,
    parse_policy,
    require_at_least_one,
    run,
    value_of,
    without,
)
from wmvla.commands.rename_map import needed_renames
from wmvla.policy.weights import checkpoint_folder

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
    lerobot_train(config)


def lerobots_arguments(arguments: list[str]) -> list[str]:
    """The reference's flags as LeRobot knows them.

    A policy that starts from a SmolVLA takes ``--rename_map`` as a field, because LeRobot allows it
    beside ``--policy.path`` only; a checkpoint that asks for the data's own names takes none.
    """
    source, rename_map = value_of("policy.path", arguments), value_of("rename_map", arguments)
    if source:
        # LeRobot looks at these flags after it has begun, and prints all its usage for a mistake.
        parse_policy(PreTrainedConfig, arguments, str(checkpoint_folder(source)))
        return needed_renames(arguments, source)
    if rename_map is None or not value_of("policy.init_from_policy_path", arguments):
        return arguments
    return [*without("rename_map", arguments), f"--policy.init_rename_map={rename_map}"]


if __name__ == "__main__":
    sys.exit(main())
