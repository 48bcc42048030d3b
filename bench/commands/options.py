"""The options that choose and change a plan, defined once for `wmbench` and for pytest."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.host.folders import working_folder
from bench.plan.document import Plan
from bench.plan.make import resolve_plan
from bench.plan.overrides import parse_overrides
from bench.run.srun import are_shared
from wmvla.documents import did_you_mean
from wmvla.errors import UserError
from wmvla.rollout.shard import Shard, parse_shard, shard_from_environment

RESULTS = working_folder() / "results"
TRACKERS = ("tensorboard", "wandb")
USUAL_SPENDING = "obrien-fleming"

_OVERRIDES = {
    "seeds": "training seeds, for instance 0,1,2",
    "arms": "arms to run, for instance E0,E2; claims that need another arm are not asked",
    "episodes": "episodes per task, the same for every arm",
    "steps": "training steps of every arm",
    "batch_size": (
        "samples per optimizer step; given alone, the number of training samples stays that of "
        "the scale"
    ),
    "total_samples": "training samples of every arm, instead of steps",
}


def add_plan_options(add: Callable[..., Any]) -> None:
    """Call `add` (pytest's `parser.addoption`, argparse's `add_argument`) for each option."""
    add(
        "--scale",
        metavar="NAME",
        help="size of the run: smoke, mini, small, full; default: the machine's",
    )
    add(
        "--machine",
        metavar="NAME",
        help=(
            "the machine: a file of bench/plan/machines, for instance cpu or mi300x; default: "
            "what is found here"
        ),
    )
    for name, text in _OVERRIDES.items():
        add(f"--{name.replace('_', '-')}", dest=name, metavar="N", help=text)
    add(
        "--sequential",
        nargs="?",
        const=USUAL_SPENDING,
        metavar="SPENDING",
        help=(
            "test the claims also before all episodes are played, and stop when they are "
            "decided: obrien-fleming (the default) or pocock"
        ),
    )
    add(
        "--offline",
        action="store_true",
        help=(
            "do not use the network; 'plan' then lists the files that a run needs and where they "
            "must be, and exits with 1 if one is missing"
        ),
    )
    add(
        "--trackers",
        metavar="NAMES",
        help="send metrics also to tensorboard, to wandb, or to both, separated by a comma",
    )
    add("--results", metavar="DIR", help="folder of the run directories; default: results/")


def add_run_options(add: Callable[..., Any]) -> None:
    """The options of how a plan is carried out, which change nothing in it."""
    add(
        "--case",
        dest="cases",
        action="append",
        default=[],
        metavar="ID",
        help=(
            "run only this case, also beside other cases of the run; the cases that it needs "
            "must be done. Can be given several times"
        ),
    )
    add(
        "--shard",
        metavar="I/N",
        help=(
            "play part I of N of every rollout, beside the other parts; default: the rank under "
            "torchrun or srun, else all episodes"
        ),
    )
    add(
        "--deterministic",
        action="store_true",
        help=(
            "also on a GPU, compute the actions of one simulator at a time, so that no action "
            "depends on the rest of its batch"
        ),
    )


def shard_from(options: Any, *plans: Plan) -> Shard | None:
    """The part of the episodes to play; None: all, and for the ranks of a named training. UserError
    for what is no shard, and in a sequential run."""
    if options.shard is not None:
        shard: Shard | None = parse_shard(options.shard)
    elif any(are_shared(plan, options.cases) for plan in plans):
        shard = None
    else:
        shard = shard_from_environment()
    if shard is not None and options.sequential is not None:
        raise UserError(
            f"--sequential cannot be used with shards (this is {shard}): a look needs the "
            "episodes of all shards; leave one of the two out"
        )
    return shard


def cases_from(plan: Plan, options: Any) -> tuple[str, ...]:
    """The cases that are to be carried out alone, in the plan's order; () for all. UserError: an
    unknown one, a shard of no rollout, a part of a sequential plan's rollouts."""
    wanted = {plan.case(case_id) for case_id in options.cases}
    shard = shard_from(options, plan) if wanted else None
    for case in wanted:
        if shard is not None and case.kind != "rollout":
            raise UserError(
                f"--case={case.id}: only rollouts can be split into shards, and this is shard "
                f"{shard}"
            )
    left_out = [case.id for case in plan.rollout_cases() if case not in wanted]
    if plan.last_look > 1 and left_out and any(case.kind == "rollout" for case in wanted):
        raise UserError(
            f"--sequential needs all rollouts together, for its looks; give --case={left_out[0]} "
            "too"
        )
    return tuple(case.id for case in plan.cases if case in wanted)


def trackers_from(options: Any) -> tuple[str, ...]:
    """Where metrics go beside their file. UserError names an unknown tracker."""
    if options.trackers is None:
        return ()
    names = tuple(name.strip() for name in options.trackers.split(","))
    for name in names:
        if name not in TRACKERS:
            raise UserError(
                f"TRACKERS={options.trackers}: unknown tracker '{name}';"
                f" {did_you_mean(name, TRACKERS)}"
            )
    return names


def plan_from(suite: str, options: Any) -> Plan:
    """UserError names the option that is wrong."""
    texts = {name: getattr(options, name) for name in (*_OVERRIDES, "sequential")}
    return resolve_plan(suite, options.scale, options.machine, parse_overrides(**texts))


def run_dir_of(plan: Plan, options: Any) -> Path:
    return Path(options.results or RESULTS) / plan.run_name


def as_flags(options: Any) -> list[str]:
    """The same options as a command line, without ``--shard`` and ``--case``: a process's own."""
    flags = []
    for name in ("scale", "machine", *_OVERRIDES, "sequential", "trackers", "results"):
        value = getattr(options, name)
        if value is not None:
            flags.append(f"--{name.replace('_', '-')}={value}")
    return flags + [f"--{name}" for name in ("offline", "deterministic") if getattr(options, name)]
