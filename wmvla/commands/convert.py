"""``lerobot-wm-convert SOURCE TARGET``: a SmolVLA as a ``smolvla_world``, with its processors."""

import sys
from collections.abc import Sequence
from pathlib import Path

from wmvla.commands.lerobot_main import parse_policy, run, value_of, without
from wmvla.errors import UserError
from wmvla.policy.configuration_smolvla_world import SmolVLAWorldConfig
from wmvla.policy.processor_smolvla_world import latents_step
from wmvla.policy.weights import checkpoint_folder, commit_of

PROGRAM = "lerobot-wm-convert"
REVISION = "policy.pretrained_revision"
USAGE = f"""usage: {PROGRAM} SOURCE TARGET [--seed=0] [--rename_map=JSON] [--policy.FIELD=VALUE ...]

SOURCE  folder or hub id of a SmolVLA checkpoint with its processors; or of a smolvla_world
        checkpoint, to change fields that its weights do not depend on, as policy.cache_dir
TARGET  folder to write, for --policy.path=TARGET of any LeRobot command
--seed  of the world parts' first weights
--rename_map  {{"image in the data": "image in SOURCE"}}: the new policy asks for the data's
        names"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert; 0, or 2 after one line on stderr."""
    return run(convert_checkpoint, arguments)


def convert_checkpoint(arguments: list[str]) -> None:
    """Write the checkpoint that ``arguments`` describe, and say what it still lacks."""
    from wmvla.policy.conversion import convert, is_world_checkpoint, rewrite

    if {"--help", "-h"}.intersection(arguments):
        print(USAGE)
        return
    source, target, flags = places(arguments)
    folder = checkpoint_folder(source, value_of(REVISION, flags))
    source, flags = str(folder), without(REVISION, flags)
    seed, rename_map = value_of("seed", flags) or "0", value_of("rename_map", flags)
    rest = without("seed", without("rename_map", flags))
    unknown = [flag for flag in rest if not flag.startswith("--policy.")]
    if unknown:
        raise UserError(f"unrecognized arguments: {' '.join(unknown)} (see {PROGRAM} --help)")
    if not seed.isdecimal():
        raise UserError(f"--seed={seed} is not a whole number.")
    sys.argv = [PROGRAM, *flags]  # the configuration reads there which fields were given
    flags = without("policy.type", flags)
    if is_world_checkpoint(source):
        if rename_map or value_of("seed", flags):
            raise UserError(
                f"{source} is a smolvla_world checkpoint already: --seed and --rename_map do not"
                " apply to it."
            )
        config = parse_policy(SmolVLAWorldConfig, flags, source)
        rewrite(config, source, target)
    else:
        start = [f"--policy.init_from_policy_path={source}"]
        start += [f"--policy.init_rename_map={rename_map}"] if rename_map else []
        config = parse_policy(SmolVLAWorldConfig, [*flags, *start])
        if not convert(config, target, int(seed)):
            print(
                f"The statistics of the latents are missing, because {latents_step(config).path}"
                " does not exist yet: training takes them from there at its first step."
            )
    commit = f", from commit {commit_of(folder)}" if commit_of(folder) else ""
    print(
        f"{target}: smolvla_world, {len(config.image_features)} cameras, latents of width"
        f" {config.world_latent_dim}{commit}"
    )


def places(arguments: list[str]) -> tuple[str, Path, list[str]]:
    """Source, target and the flags."""
    named = [word for word in arguments if not word.startswith("--")]
    if len(named) != 2:
        raise UserError(f"Give a source and a target: {USAGE.splitlines()[0]}")
    return named[0], Path(named[1]), [word for word in arguments if word.startswith("--")]


if __name__ == "__main__":
    sys.exit(main())
