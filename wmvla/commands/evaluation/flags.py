"""The flags of ``lerobot-wm-eval``: LeRobot's, the reference project's names for them, and ours."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from lerobot.configs.eval import EvalPipelineConfig

from wmvla.commands.lerobot_main import require_at_least_one, value_of, without
from wmvla.commands.rename_map import needed_renames
from wmvla.errors import UserError
from wmvla.policy.weights import checkpoint_fields, checkpoint_folder

FAILURES = "failures"
REVISION = "policy.pretrained_revision"


@dataclass
class EvalConfig(EvalPipelineConfig):
    """LIBERO is played by our engine: --workers simulators at once, --eval.batch_size has no
    effect. Every other environment is played by LeRobot's own evaluation, which knows none of
    --shard, --deterministic, --workers and --videos."""

    # Part of the episodes to play, for instance 2/4; by default that of this rank of torchrun or
    # Slurm
    shard: str | None = None
    # The policy answers one query at a time, so that on a GPU too an episode does not depend on
    # which others are played
    deterministic: bool = False
    # Simulator processes; by default as many as cores and memory allow
    workers: int | None = None
    # Film the first N episodes of every task, or the failures
    videos: str | None = None

    @property
    def filmed_episodes(self) -> int:
        """How many of every task's first episodes are filmed while they are played."""
        return 0 if self.videos in (None, FAILURES) else int(self.videos)


OWN_FLAGS = tuple(
    field.name
    for field in fields(EvalConfig)
    if field.name not in EvalPipelineConfig.__dataclass_fields__
)


def check_own_flags(config: EvalConfig) -> None:
    """UserError if ``--workers``, ``--videos`` or a number of episodes make no sense."""
    episodes, together = config.eval.n_episodes, config.eval.batch_size
    require_at_least_one({"eval.n_episodes": episodes, "eval.batch_size": together})
    if config.workers is not None and config.workers < 1:
        raise UserError(f"--workers={config.workers}: at least one simulator is needed.")
    if config.videos not in (None, FAILURES) and not (config.videos or "").isdecimal():
        raise UserError(
            f"--videos={config.videos}: give a number of episodes for every task, or {FAILURES}."
        )


def with_values(arguments: Sequence[str]) -> list[str]:
    """Joined arguments with ``--deterministic`` as ``--deterministic=true``."""
    return [f"{word}=true" if word == "--deterministic" else word for word in arguments]


def own_flags_in(arguments: Sequence[str]) -> list[str]:
    """Those of ``OWN_FLAGS`` that joined arguments give."""
    return [name for name in OWN_FLAGS if value_of(name, arguments) is not None]


def lerobots_arguments(arguments: list[str]) -> list[str]:
    """The reference's flags as LeRobot knows them: ``--policy.pretrained_path`` means
    ``--policy.path``; ``--policy.type`` may stand beside it; entries of a rename map that the
    checkpoint does not need are left out.

    UserError: no checkpoint; a checkpoint of another type than the command says.
    """
    source = value_of("policy.path", arguments) or value_of("policy.pretrained_path", arguments)
    if not source:
        raise UserError("Which checkpoint? Give --policy.path=<folder or hub id>.")
    folder = checkpoint_folder(source, value_of(REVISION, arguments))
    found = checkpoint_fields(folder)
    kind = value_of("policy.type", arguments)
    if kind not in (None, found.get("type")):
        raise UserError(
            f"{source} is a {found.get('type')} checkpoint, but --policy.type is {kind}."
        )
    for flag in ("policy.path", "policy.pretrained_path", "policy.type", REVISION):
        arguments = without(flag, arguments)
    return [*needed_renames(arguments, folder), f"--policy.path={folder}"]
