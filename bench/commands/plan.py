"""`wmbench plan`: what a run would do, without doing it."""

import argparse
import json

from bench.options import add_plan_options, plan_from, run_dir_of
from bench.plan import Plan
from bench.requirements import missing_for

HELP = "show what would run: cases, episodes, claims, and where"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("suite", nargs="?", default="core", help="suite, default: core")
    add_plan_options(parser.add_argument)
    parser.add_argument("--json", action="store_true", help="print the plan as it would be written to plan.json")


def run(options: argparse.Namespace) -> int:
    plan = plan_from(options.suite, options)
    if options.json:
        print(json.dumps(plan.to_json(), indent=1))
        return 0
    print("\n".join(describe(plan)))
    print(f"run directory  {run_dir_of(plan, options)}")
    for sentence in missing_for(plan):
        print(f"cannot run     {sentence}")
    return 0


def describe(plan: Plan) -> list[str]:
    """The plan in lines of text."""
    from bench import wording
    from bench.limits import limit_of

    training, rollout, tasks = plan.recipe.training, plan.recipe.rollout, plan.recipe.environment.tasks
    inits = f"{min(rollout.episodes, len(rollout.inits))} initial states"
    rollouts = len(plan.rollout_cases())
    workers = plan.machine.rollout_workers or "by cores and memory"
    case_width = max(len(case.id) for case in plan.cases)
    claim_width = max([len("claim"), *(len(claim.id) for claim in plan.claims)])
    lines = [
        f"{plan.run_name}: {plan.question}",
        f"scale          {plan.scale}: {plan.summary}",
        f"machine        {plan.machine.name}: {plan.machine.training_processes} training processes, "
        f"rollout workers {workers}, {plan.machine.precision}",
        f"training       {training.steps} steps x batch {training.batch_size} = "
        f"{training.steps * training.batch_size} samples, seeds {', '.join(map(str, plan.seeds))}",
        f"episodes       {len(plan.episodes)} for each of {rollouts} rollouts = {len(plan.episodes) * rollouts} "
        f"({plan.recipe.environment.suite}, {_counted(len(tasks), 'task')}, {inits})",
        f"sanity gate    {plan.sanity.rollout} solves at least {100 * plan.sanity.floor:g} %",
        f"alpha          {plan.alpha:g}",
        "",
        f"{'case':<{case_width}}  kind            after",
        *(f"{case.id:<{case_width}}  {case.kind:<15} {', '.join(case.needs)}".rstrip() for case in plan.cases),
        "",
        f"{'claim':<{claim_width}}  test",
    ]
    for claim in plan.claims:
        margin = f", margin {100 * claim.margin:g} points" if claim.margin is not None else ""
        asked = "" if claim.asked else ", not asked: an arm is left out"
        lines.append(f"{claim.id:<{claim_width}}  {claim.kind} of {claim.left} and {claim.right}{margin}{asked}")
    notes = [wording.out_of_reach_note(claim, limit_of(plan, claim)) for claim in plan.claims if claim.asked]
    said = [*plan.cannot_say, wording.seeds_note(plan), *(note for note in notes if note and plan.concludes)]
    return [*lines, "", "This plan cannot say:", *(f"- {note}" for note in said), "", f"hash           {plan.hash}"]


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
