"""`wmbench plan`: show what a run would do, what it could show and what it would cost."""

import argparse
import dataclasses
import json
import os
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.commands.options import RESULTS, add_plan_options, as_flags, plan_from, run_dir_of
from bench.forecast.hub import Needed, go_offline, needed_by
from bench.forecast.requirements import missing_for
from bench.host.folders import working_folder
from bench.plan.document import Plan
from wmvla.errors import UserError

if TYPE_CHECKING:
    from bench.record.run import Run

HELP = "show what a run would do: cases, episodes, claims, what the claims can show, cost, machine"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("suite", nargs="?", default="core", help="suite, default: core")
    add_plan_options(parser.add_argument)
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument(
        "--json",
        action="store_true",
        help="print the plan as it would be written to plan.json; with --offline the files",
    )
    shape.add_argument(
        "--ci", choices=["gitlab"], help="print a child pipeline with one job a case, for GitLab"
    )

    parser.add_argument(
        "--check",
        action="store_true",
        help="exit with 1 if this cannot run here; the reason is printed first",
    )


def run(options: argparse.Namespace) -> int:
    """0. 1: files are missing (--offline), or something that a run needs here (--check)."""
    if options.offline:
        go_offline()
    plan = plan_from(options.suite, options)
    if options.offline and not options.ci:
        return _print_files(plan, options.json)
    answer = 1 if options.check and missing_for(plan) else 0
    if options.json:
        print(json.dumps(plan.to_json(), indent=1))
        return answer
    if options.ci:
        print(_pipeline(plan, options), end="")
        return answer
    from bench.forecast.past_runs import find_past_runs

    folders = dict.fromkeys([RESULTS, Path(options.results or RESULTS)])
    past_runs, not_used = find_past_runs(plan, folders)
    for sentence in missing_for(plan):
        print(f"cannot run     {sentence}")
    print("\n".join(describe(plan, past_runs)))
    print(f"run directory  {run_dir_of(plan, options)}")
    for name, why in not_used:
        print(f"not used: {name}: {why}")
    return answer


def _print_files(plan: Plan, as_json: bool) -> int:
    """Which files the plan needs beside this project, and where. 0: all are there."""
    needs = needed_by(plan)
    lacking = [needed.name for needed in needs if needed.missing]
    if as_json:
        files = [{**dataclasses.asdict(needed), "folder": str(needed.folder)} for needed in needs]
        print(json.dumps({"run": plan.run_name, "complete": not lacking, "needs": files}, indent=1))
    else:
        print("\n".join([f"{plan.run_name} needs", "", *_file_lines(needs)]))
        print(f"missing: {', '.join(lacking)}" if lacking else "all files are there")
    return 1 if lacking else 0


def _file_lines(needs: Iterable[Needed]) -> list[str]:
    """A paragraph for each repository: folder, what is there, what is missing, what fetches it."""
    lines = []
    for needed in needs:
        files = [(file, "here" if there else "missing") for file, there in needed.files.items()]
        lines += [f"{needed.what}: {needed.name}", f"  in       {needed.folder}"]
        for state in ("here", "missing"):
            lines += [f"  {state:<7}  {file}" for file, found in files if found == state]
        lines += [f"  get      {needed.command}"] if needed.missing else []
        lines += [""]
    return lines


def describe(plan: Plan, past_runs: Sequence["Run"] = ()) -> list[str]:
    """The plan in lines of text; times, sizes and discordance from `past_runs`."""
    from bench.wording import plans, verdicts
    from bench.wording.methods import method_in_words

    training, rollout = plan.recipe.training, plan.recipe.rollout
    tasks, looks = len(plan.recipe.environment.tasks), plans.looks_sentence(plan)
    inits = f"{min(rollout.episodes, len(rollout.inits))} initial states"
    rollouts = len(plan.rollout_cases())
    workers = plan.machine.rollout_workers or "by cores and memory"
    spread = f" on {plan.machine.nodes} nodes" if plan.machine.nodes > 1 else ""
    case_width = max(len(case.id) for case in plan.cases)
    claim_width = max([len("claim"), *(len(claim.id) for claim in plan.claims)])
    lines = [
        f"{plan.run_name}: {plan.question}",
        f"scale          {plan.scale}: {plan.summary}",
        (
            f"machine        {plan.machine.name}: {plan.machine.training_processes} training"
            f" processes{spread} ({plan.machine.strategy}), rollout workers {workers},"
            f" {plan.machine.precision}"
        ),
        (
            f"training       {training.steps} steps x batch {training.batch_size} ="
            f" {training.steps * training.batch_size} samples, seeds"
            f" {', '.join(map(str, plan.seeds))}"
        ),
        *_vision_lines(plan),
        (
            f"episodes       {len(plan.episodes)} for each of {rollouts} rollouts ="
            f" {len(plan.episodes) * rollouts} ({plan.recipe.environment.suite},"
            f" {tasks} task{'s' if tasks != 1 else ''}, {inits})"
        ),
        *([f"looks          {looks}"] if looks else []),
        f"sanity gate    {plan.sanity.rollout} solves at least {100 * plan.sanity.floor:g} %",
        f"alpha          {plan.alpha:g}; {method_in_words(plan.method)['multiplicity']}",
        *_cost_lines(plan, past_runs),
        "",
        f"{'case':<{case_width}}  kind            after",
        *(
            f"{case.id:<{case_width}}  {case.kind:<15} {', '.join(case.needs)}".rstrip()
            for case in plan.cases
        ),
        "",
        f"{'claim':<{claim_width}}  test",
    ]
    for claim in plan.claims:
        sought = f", target gain {100 * claim.effect:g} points" if claim.effect is not None else ""
        margin = f", margin {100 * claim.margin:g} points" if claim.margin is not None else ""
        asked = "" if claim.asked else ", not asked: an arm is left out"
        lines.append(
            f"{claim.id:<{claim_width}}  {claim.kind} of {claim.left} and"
            f" {claim.right}{margin}{sought}{asked}"
        )
    if plan.concludes:
        lines += ["", *_power_lines(plan, past_runs, claim_width)]
    limits = [*plan.cannot_say, verdicts.seeds_note(plan), *plans.out_of_reach_notes(plan)]
    return [
        *lines,
        "",
        "This plan cannot say:",
        *(f"- {note}" for note in limits),
        "",
        f"hash           {plan.hash}",
    ]


def _pipeline(plan: Plan, options: argparse.Namespace) -> str:
    """The child pipeline as YAML. UserError if the run directory lies outside the project."""
    import yaml

    from bench.run.gitlab import gitlab_pipeline

    run_dir = Path(os.path.relpath(run_dir_of(plan, options), working_folder()))
    if run_dir.parts[0] == "..":
        raise UserError(
            f"--results={options.results}: GitLab keeps only files inside the project; give a "
            "folder inside it"
        )
    # A runner would find another machine, and with it another plan.
    pinned = {"scale": plan.scale, "machine": plan.machine.name, "deterministic": False}
    flags = [
        shlex.quote(flag) for flag in as_flags(argparse.Namespace(**{**vars(options), **pinned}))
    ]
    head = f"# {plan.run_name}, made by: wmbench plan {plan.suite} {' '.join(flags)} --ci=gitlab\n"
    return head + yaml.safe_dump(gitlab_pipeline(plan, flags, run_dir), sort_keys=False, width=1000)


def _vision_lines(plan: Plan) -> list[str]:
    if not plan.machine.cache_vision:
        return []
    size = "25 GB for 100,000 frames of two cameras in bf16 (64 tokens x 960 per image)"
    return [
        "vision         images are encoded once, for all trainings: cache/ grows by the features,"
        f" {size}"
    ]


def _power_lines(plan: Plan, past_runs: Sequence["Run"], width: int) -> list[str]:
    """What each claim's episodes can show, and how many it takes."""
    from bench.forecast.past_runs import discordances
    from bench.judge.power import limit_of
    from bench.wording import plans

    found = discordances(plan, past_runs)
    asked = [claim for claim in plan.claims if claim.asked]
    said = plans.plan_sentences([limit_of(plan, claim, found[claim.id]) for claim in asked])
    lines = [f"{claim.id:<{width}}  {text}" for claim, text in zip(asked, said, strict=False)]
    return [plans.power_heading(plan), *lines, *said[len(asked) :]]


def _cost_lines(plan: Plan, past_runs: Sequence["Run"]) -> list[str]:
    """Wall time, CPU or GPU time, disk, by comparable runs, or else an estimate."""
    from bench.forecast.by_operations import Estimator
    from bench.forecast.costs import estimate, fill
    from bench.forecast.past_runs import processor_of
    from bench.plan.machine import load_performance
    from bench.wording import plans

    costs, peak = estimate(plan, past_runs), load_performance(plan.machine.name).peak
    estimator = Estimator(plan, peak) if peak else None
    if estimator:
        costs = fill(costs, estimator)
    runs = [f"{each.run_dir.name} ({processor_of(each)})" for each in past_runs]
    lines = plans.cost_lines(plan, costs, runs, estimator)
    return [f"{name:<14} {text}" for name, text in lines]
