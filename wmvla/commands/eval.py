"""``lerobot-wm-eval``: LeRobot's own evaluation with the reference project's flags."""

import sys
from collections.abc import Sequence

from lerobot.configs.eval import EvalPipelineConfig

from wmvla.commands.lerobot_main import parse, run, value_of, without
from wmvla.commands.rename_map import needed_renames
from wmvla.errors import UserError
from wmvla.policy.weights import checkpoint_fields, checkpoint_folder

PROGRAM = "lerobot-wm-eval"


def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluate as ``lerobot-eval`` does; 0, or 2 after one line on stderr."""
    return run(PROGRAM, evaluate, arguments)


def evaluate(arguments: list[str]) -> None:
    """Run LeRobot's evaluation with joined ``arguments``."""
    if not {"--help", "-h"}.intersection(arguments):
        arguments = lerobots_arguments(arguments)
    config = parse(EvalPipelineConfig, arguments, PROGRAM)
    if config.env.type == "libero":
        from wmvla.sim.libero.assets import prepare_libero

        prepare_libero()
    from lerobot.scripts.lerobot_eval import eval_main

    eval_main(config)


def lerobots_arguments(arguments: list[str]) -> list[str]:
    """The reference's flags as LeRobot knows them.

    ``--policy.pretrained_path`` means ``--policy.path``; ``--policy.type`` may stand beside it; a rename map that the
    checkpoint does not need any more, because it asks for the data's own names, is left out.

    Raises:
        UserError: no checkpoint; a checkpoint of another type than the command says.
    """
    source = value_of("policy.path", arguments) or value_of("policy.pretrained_path", arguments)
    if not source:
        raise UserError("Which checkpoint? Give --policy.path=<folder or hub id>.")
    fields = checkpoint_fields(checkpoint_folder(source))
    kind = value_of("policy.type", arguments)
    if kind not in (None, fields.get("type")):
        raise UserError(f"{source} is a {fields.get('type')} checkpoint, but --policy.type is {kind}.")
    for flag in ("policy.path", "policy.pretrained_path", "policy.type"):
        arguments = without(flag, arguments)
    return [*needed_renames(arguments, source), f"--policy.path={source}"]


if __name__ == "__main__":
    sys.exit(main())
