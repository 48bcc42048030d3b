"""What the control suites showed of a run's code: looked for once, and kept beside the run.

A report is a function of its run directory alone, so it cannot look at other runs. `write_controls`
looks, when ``wmbench run`` ends, and leaves ``controls.json``; the report repeats what it says.
Only the same command given again looks again.
"""

import dataclasses
from pathlib import Path

from bench.formats.toml import read_toml
from bench.judge.verdict import ClaimResult, Verdict, judge
from bench.plan.document import PLAN_FILE, Plan
from bench.plan.make import make_plan
from bench.plan.overrides import Overrides
from bench.plan.suite import SUITES, Control, Suite, known_suites, load_suite
from bench.record.controls import (
    CONTROLS_FILE,
    CONTROLS_VERSION,
    ControlResult,
    ControlRun,
    Controls,
    Outcome,
    PassedOver,
)
from bench.record.privacy import anonymous
from bench.record.run import Run
from bench.wording.verdicts import verdict_sentence
from wmvla.errors import UserError
from wmvla.files import write_json

NOTHING_SAID = ("scale", "not asked", "sanity", "incomplete", "broken")
"""Reasons for which a claim is left open whatever the instrument sees."""


def write_controls(plan: Plan, run_dir: Path) -> None:
    """Write what control runs beside `run_dir` showed into it; a control itself gets no file.
    UserError where a control suite's file is wrong, or where nothing can be written."""
    if plan.control:
        return
    path = Path(run_dir) / CONTROLS_FILE
    write_json(path, dataclasses.asdict(look_for_controls(plan, Path(run_dir))))


def look_for_controls(plan: Plan, run_dir: Path) -> Controls:
    """What the control runs beside `run_dir` showed of its code on a machine of the same name."""
    code, machine = code_of(Run(run_dir, plan)), plan.machine.name
    declared = [
        name for name in known_suites() if "control" in read_toml(SUITES / name / "suite.toml")
    ]
    suites = sorted(map(load_suite, declared), key=lambda suite: suite.control != "positive")
    return Controls(
        version=CONTROLS_VERSION,
        machine=machine,
        code_sha256=code,
        controls=tuple(
            _result(suite, runs, machine, code)
            for suite, runs in _runs_by_suite(suites, run_dir.parent)
        ),
    )


def code_of(run: Run) -> str | None:
    """The hash of a run's code; None if not recorded, or edited in between. UserError: damage."""
    began = run.recorded("code_sha256")
    later = {record.get("code_sha256") for record in run.cases.values()} - {None}
    return began if isinstance(began, str) and later <= {began} else None


def outcome_of(kind: Control, verdict: Verdict) -> Outcome:
    """A positive control must be SUPPORTED; a negative one free to claim a gain, and claim none."""
    if kind == "positive":
        return "shown" if verdict.decision == "SUPPORTED" else "failed"
    if any(gain.decision == "SUPPORTED" for gain in _gains(verdict)):
        return "failed"
    return "undecided" if any(gain.why in NOTHING_SAID for gain in _gains(verdict)) else "shown"


def _gains(verdict: Verdict) -> list[ClaimResult]:
    return [result for result in verdict.claims if result.claim.kind == "superiority"]


def _runs_by_suite(suites: list[Suite], results: Path) -> list[tuple[Suite, list[Path]]]:
    """The run directories of each suite, by the names that plans give them. Non-obvious:
    `controls-negative-mini-...` begins with `controls` too; the longest is right."""
    names = known_suites()
    by_suite: dict[str, list[Path]] = {suite.name: [] for suite in suites}
    for folder in sorted(path.parent for path in results.glob(f"*/{PLAN_FILE}")):
        named_after = max(
            (name for name in names if folder.name.startswith(f"{name}-")), key=len, default=""
        )
        if named_after in by_suite:
            by_suite[named_after].append(folder)
    return [(suite, by_suite[suite.name]) for suite in suites]


def _result(suite: Suite, folders: list[Path], machine: str, code: str | None) -> ControlResult:
    assert suite.control is not None
    found: list[ControlRun] = []
    passed_over: list[PassedOver] = []
    for folder in folders:
        try:
            weighed = _weigh(suite, folder, machine, code)
        except (ValueError, OSError) as error:
            # The damage of another run must not take this one's report away.
            detail = anonymous(" ".join(str(error).replace(f"{folder}/", "").split()))
            weighed = PassedOver(folder.name, "unreadable", detail)
        if isinstance(weighed, ControlRun):
            found.append(weighed)
        else:
            passed_over.append(weighed)
    return ControlResult(
        suite=suite.name,
        kind=suite.control,
        scale=next(name for name, scale in suite.scales.items() if scale.concludes),
        found=max(found, key=lambda run: (run.finished_at or "", run.run), default=None),
        runs=len(found),
        failed=sum(run.outcome == "failed" for run in found),
        passed_over=tuple(passed_over),
    )


def _weigh(suite: Suite, folder: Path, machine: str, code: str | None) -> ControlRun | PassedOver:
    """The run in `folder`, or why it does not count. ValueError where a file in it is damaged."""
    run = Run(folder)
    plan = run.plan
    if plan.suite != suite.name:
        raise UserError(
            f"the plan is of suite '{plan.suite}', the folder is named after '{suite.name}'"
        )
    theirs = code_of(run)
    if plan.machine.name != machine:
        return PassedOver(folder.name, "machine")
    if theirs is None or theirs != code:
        return PassedOver(folder.name, "code")
    if not plan.concludes:
        return PassedOver(folder.name, "scale")
    if not _as_its_suite_says(suite, plan):
        return PassedOver(folder.name, "changed")
    verdict = judge(plan, run.rows)
    if verdict.why == "incomplete":
        return PassedOver(folder.name, "unfinished")
    assert suite.control is not None
    ends = [
        run.cases[case.id]["finished_at"] for case in plan.rollout_cases() if case.id in run.cases
    ]
    return ControlRun(
        run=folder.name,
        plan_hash=plan.hash,
        decision=verdict.decision,
        outcome=outcome_of(suite.control, verdict),
        sentence=verdict_sentence(plan, verdict),
        gains=tuple(gain.claim.id for gain in _gains(verdict) if gain.decision == "SUPPORTED"),
        finished_at=max(ends, default=None),
        collected_at=run.recorded("collected_at"),
        code_sha256=theirs,
        has_report=(folder / "report.html").is_file(),
    )


def _as_its_suite_says(suite: Suite, plan: Plan) -> bool:
    """Whether a run is the control that its suite describes: all claims, the same training, and no
    fewer episodes. Non-obvious: with a handful of episodes any negative control claims nothing."""
    if plan.scale not in suite.scales or not all(claim.asked for claim in plan.claims):
        return False
    asked = make_plan(suite, plan.scale, plan.machine, Overrides(seeds=plan.seeds)).recipe
    same_size = dataclasses.replace(
        plan.recipe,
        rollout=dataclasses.replace(plan.recipe.rollout, episodes=asked.rollout.episodes),
    )
    return same_size == asked and plan.recipe.rollout.episodes >= asked.rollout.episodes
