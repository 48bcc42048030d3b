"""A plan as a GitLab child pipeline: one job a case, after the cases it needs; then the report.

Non-obvious: jobs may run on different computers, which share no disk. A job hands its own files on
as artifacts and takes those of all cases before it, not only of the ones it needs directly: a
rollout's checkpoint names the tiny models that `base` made, by their absolute path. So all jobs
must have the project in one place; each compares its own with the first job's.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.plan.cases import Case
from bench.plan.document import Plan

REPORT, ROLLOUTS = "report", "rollouts"
SETUP = "make setup"
WMBENCH, PYTEST = ".venv/bin/wmbench", ".venv/bin/pytest"
KEEP = "-ffdx -e .venv -e .tools -e .libero"
"""What git clean spares between jobs: what set-up made stays, or each job would install 7 GB."""
PLACE = "project_folder.txt"
"""In the run directory: where the first job had the project."""
SHARED_KINDS = frozenset({"demonstrations", "base", "latents", "held-out"})
"""Kinds of cases that leave something in ``cache/``."""


def gitlab_pipeline(plan: Plan, flags: Sequence[str], run_dir: Path) -> dict[str, Any]:
    """The pipeline as the content of a YAML file. `flags` are the options that make the plan again;
    `run_dir` lies in the project, relative. Non-obvious: pytest carries the cases out, because
    GitLab shows its JUnit report."""
    groups = _groups(plan)
    command = [PYTEST, "suites/", f"--suite={plan.suite}", *flags]
    jobs = {name: _job(plan, name, groups, command, run_dir) for name in groups}
    jobs[REPORT] = {
        "stage": REPORT,
        # Also after a case that failed: the report names the hole.
        "when": "always",
        "script": [f"{WMBENCH} report {run_dir}"],
        "artifacts": {
            "when": "always",
            "paths": [f"{run_dir}/report.*"],
            "expose_as": f"report of {plan.suite} at {plan.scale}",
        },
    }
    return {
        "stages": ["cases", REPORT],
        "variables": {"GIT_CLEAN_FLAGS": KEEP},
        "default": {
            "tags": [plan.machine.accelerator],
            "before_script": [_same_place(run_dir), SETUP],
            "interruptible": True,
        },
        **jobs,
    }


def _groups(plan: Plan) -> dict[str, tuple[Case, ...]]:
    """The cases of each job: one, or all rollouts of a plan with several looks, in one place."""
    rollouts = tuple(plan.rollout_cases()) if plan.last_look > 1 else ()
    groups: dict[str, tuple[Case, ...]] = {}
    for case in plan.cases:
        groups |= {ROLLOUTS: rollouts} if case in rollouts else {case.id: (case,)}
    return groups


def _job(
    plan: Plan,
    name: str,
    groups: dict[str, tuple[Case, ...]],
    command: Sequence[str],
    run_dir: Path,
) -> dict[str, Any]:
    cases = groups[name]
    junit = f"junit-{name}.xml"
    before = {need for case in cases for need in _all_needs(plan, case)}
    left = [f"{run_dir}/plan.json", f"{run_dir}/provenance.json", f"{run_dir}/{PLACE}", junit]
    for case in cases:
        left += [f"{run_dir}/*/{case.id}.*", f"{run_dir}/checkpoints/{case.id}/"]
    if any(case.kind in SHARED_KINDS for case in cases):
        left.append("cache/")
    script = [*command, f"--junitxml={junit}", *(f"--case={case.id}" for case in cases)]
    return {
        "stage": "cases",
        "needs": [other for other, its in groups.items() if before & {case.id for case in its}],
        "script": [" ".join(script)],
        "artifacts": {"when": "always", "paths": left, "reports": {"junit": junit}},
    }


def _same_place(run_dir: Path) -> str:
    """Shell that ends a job whose runner has the project elsewhere than the first job's."""
    file = run_dir / PLACE
    complaint = (
        "error: the project is in $PWD here, and was in $(cat FILE) before; take runners that have"
        " it in one place"
    )
    return (
        f'mkdir -p {run_dir}; [ -e {file} ] || echo "$PWD" >{file}; [ "$(cat {file})" = "$PWD" ] ||'
        f' {{ echo "{complaint.replace("FILE", str(file))}" >&2; exit 2; }}'
    )


def _all_needs(plan: Plan, case: Case) -> set[str]:
    """The cases before a case, near and far."""
    return {need for near in case.needs for need in (near, *_all_needs(plan, plan.case(near)))}
