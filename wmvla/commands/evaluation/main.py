"""``lerobot-wm-eval``: any LeRobot checkpoint in LIBERO by our engine; the rest by LeRobot's."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lerobot.configs.eval import EvalPipelineConfig

from wmvla.commands.evaluation.flags import (
    OWN_FLAGS,
    EvalConfig,
    check_own_flags,
    lerobots_arguments,
    own_flags_in,
    with_values,
)
from wmvla.commands.lerobot_main import parse, run, value_of, without
from wmvla.errors import UserError
from wmvla.rollout.shard import Shard, parse_shard, shard_from_environment

if TYPE_CHECKING:
    from wmvla.rollout.summary import Info

PROGRAM = "lerobot-wm-eval"


def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluate as ``lerobot-eval`` does; 0, 2 after one line on stderr, or 130 after Ctrl-C."""
    try:
        return run(evaluate, arguments)
    except KeyboardInterrupt:
        return 130


def evaluate(arguments: list[str]) -> None:
    """Evaluate with joined ``arguments``: our LIBERO by our engine, all else by LeRobot's."""
    arguments = with_values(arguments)
    if not {"--help", "-h"}.intersection(arguments):
        arguments = lerobots_arguments(arguments)
    config = parse(EvalConfig, arguments, PROGRAM)
    check_own_flags(config)
    if config.env.type.startswith("libero"):
        from wmvla.sim.libero.assets import prepare_libero

        prepare_libero()
    from wmvla.commands.evaluation.table import lerobots_own

    reason = lerobots_own(config)
    if reason is not None:
        _evaluate_with_lerobot(arguments, reason)
        return
    shard = parse_shard(config.shard) if config.shard else shard_from_environment()
    if value_of("output_dir", arguments) is None:
        if shard is not None:
            raise UserError(
                "All shards of an evaluation write to one directory: give --output_dir."
            )
        where = config.output_dir
        print(
            f"Recording in {where}: to continue there later, give --output_dir={where}",
            file=sys.stderr,
        )
    from wmvla.commands.evaluation.run import play_evaluation

    try:
        _print(play_evaluation(config, shard), config, shard)
    except KeyboardInterrupt:
        print(
            "\nStopped. Finished episodes are recorded: give the same command with the same "
            "--output_dir to continue.",
            file=sys.stderr,
        )
        raise


def _evaluate_with_lerobot(arguments: list[str], reason: str) -> None:
    for name in own_flags_in(arguments):
        raise UserError(
            f"--{name} belongs to our LIBERO, which has no {reason}: leave out one of the two."
        )
    for name in OWN_FLAGS:
        arguments = without(name, arguments)
    from lerobot.scripts import lerobot_eval
    from lerobot.utils.utils import init_logging

    from wmvla.policy.whole_checkpoint import strictly_loading
    from wmvla.rollout.conventions import check_conventions

    print(f"LeRobot's own evaluation plays this: ours has no {reason}.", file=sys.stderr)
    init_logging()
    config = parse(EvalPipelineConfig, arguments, PROGRAM)
    check = check_conventions if config.env.type.startswith("libero") else None
    with strictly_loading(lerobot_eval, check):
        lerobot_eval.eval_main(config)


def _print(info: "Info", config: EvalConfig, shard: Shard | None) -> None:
    """The summary, and how to go on."""
    from wmvla.rollout.summary import summary_lines

    print(*summary_lines(info), sep="\n")
    if shard is None:
        print(f"{config.output_dir}/eval_info.json")
        return
    print(
        f"Shard {shard} is done. These numbers are of all episodes recorded so far. When every"
        " shard is done, the same command without --shard (or torchrun, or srun) reads them all,"
        " plays what is missing and writes eval_info.json."
    )


if __name__ == "__main__":
    sys.exit(main())
