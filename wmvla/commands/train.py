"""``lerobot-wm-train``: LeRobot's own training with the reference project's flags."""

import contextlib
import math
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

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
from wmvla.data.lerobot_files import read_as_stored
from wmvla.data.opening import locate, open_dataset
from wmvla.errors import UserError
from wmvla.policy.configuration_smolvla_world import SmolVLAWorldConfig
from wmvla.policy.processor_smolvla_world import latents_step
from wmvla.policy.weights import checkpoint_folder
from wmvla.policy.whole_checkpoint import strictly_loading
from wmvla.train.libero_data import refuse_other_gripper
from wmvla.train.start import refuse_other_dataset

PROGRAM = "lerobot-wm-train"
REVISION = "policy.pretrained_revision"
DIVIDES = "ACCELERATE_GRADIENT_ACCUMULATION_STEPS"


def main(arguments: Sequence[str] | None = None) -> int:
    """Train as ``lerobot-train`` does; 0, or 2 after one line on stderr."""
    return run(train, arguments)


def train(arguments: list[str]) -> None:
    """Run LeRobot's training with joined ``arguments``."""
    from lerobot.scripts import lerobot_train

    refuse_divided_gradients()
    config = parse(TrainPipelineConfig, lerobots_arguments(arguments), PROGRAM)
    require_at_least_one({"steps": config.steps, "batch_size": config.batch_size})
    if config.env is not None and config.env.type == "libero":
        from wmvla.sim.libero.assets import prepare_libero

        prepare_libero()
    if not config.dataset.streaming:
        open_data_of(config)
    with read_as_stored(), strictly_loading(lerobot_train), finite_steps(lerobot_train):
        lerobot_train.train(config)


def refuse_divided_gradients() -> None:
    """UserError where the environment lets accelerate divide every gradient, which LeRobot's loop
    takes one step with nevertheless."""
    parts = os.environ.get(DIVIDES, "1")
    if parts != "1":
        raise UserError(
            f"{DIVIDES}={parts} divides every gradient by {parts}, and LeRobot accumulates none:"
            " unset it; a larger --batch_size is what accumulates."
        )


@contextlib.contextmanager
def finite_steps(script: ModuleType) -> Iterator[None]:
    """Inside the block LeRobot's training stops at the first step whose loss or gradient is not
    finite, before a checkpoint of it is written.

    Non-obvious: under fp16 accelerate skips steps whose gradient overflows; there the loss alone
    counts.
    """
    stock = script.update_policy

    def update_policy(tracker: Any, *args: Any, **kwargs: Any) -> Any:
        answer = stock(tracker, *args, **kwargs)
        scaled = kwargs["accelerator"].mixed_precision == "fp16"
        for name, value in (("loss", tracker.loss.val), ("gradient", tracker.grad_norm.val)):
            if not math.isfinite(value) and not (scaled and name == "gradient"):
                raise UserError(
                    f"The {name} is not finite at step {tracker.steps + 1} ({value}); that step is"
                    " not in any checkpoint: check the data, or lower the learning rate."
                )
        return answer

    with mock.patch.object(script, "update_policy", update_policy):
        yield


def open_data_of(config: TrainPipelineConfig) -> None:
    """Open the dataset as strictly as our own training does, and set where it lies.

    Raises:
        UserError: it is not whole; it lacks an episode that is asked for; the latents are
        missing, damaged or those of another one; its gripper is not that of the LIBERO that is to
        be played on the way.
    """
    asked = config.dataset
    root = Path(asked.root) if asked.root else None
    _, place = locate(root, asked.repo_id, asked.revision)
    dataset, rows = open_dataset(asked.repo_id, place, asked.revision)
    if config.env is not None and config.env.type.startswith("libero"):
        refuse_other_gripper(dataset, rows)
    metadata = dataset.meta
    asked.root = None if place is None else str(place)
    for episode in asked.episodes or []:
        if episode >= metadata.total_episodes:
            raise UserError(
                f"--dataset.episodes: there is no episode {episode}: {asked.repo_id} has"
                f" {metadata.total_episodes}, 0 to {metadata.total_episodes - 1}."
            )
    if isinstance(config.policy, SmolVLAWorldConfig):
        step = latents_step(config.policy)
        refuse_other_dataset(PolicyProcessorPipeline([step]), metadata)


def lerobots_arguments(arguments: list[str]) -> list[str]:
    """The reference's flags as LeRobot knows them.

    A policy that starts from a SmolVLA takes ``--rename_map`` as a field, because LeRobot allows it
    beside ``--policy.path`` only; a checkpoint that asks for the data's own names takes none.
    """
    source, rename_map = value_of("policy.path", arguments), value_of("rename_map", arguments)
    if source:
        folder = checkpoint_folder(source, value_of(REVISION, arguments))
        arguments = without("policy.path", without(REVISION, arguments))
        arguments.append(f"--policy.path={folder}")
        # LeRobot looks at these flags after it has begun, and prints its whole usage when one is
        # wrong
        parse_policy(PreTrainedConfig, arguments, str(folder))
        return needed_renames(arguments, folder)
    if rename_map is None or not value_of("policy.init_from_policy_path", arguments):
        return arguments
    return [*without("rename_map", arguments), f"--policy.init_rename_map={rename_map}"]


if __name__ == "__main__":
    sys.exit(main())
