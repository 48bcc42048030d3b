"""The content of a report as plain JSON types, for report.json and the templates. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from bench.compare.context import beside
from bench.compare.control_words import BROKEN, control_sentence, controls_note
from bench.judge.missing import as_ranges, missing_episodes
from bench.judge.power import limit_of
from bench.judge.verdict import ClaimResult, Rate, Verdict, judge
from bench.plan.cases import Case
from bench.plan.document import Plan
from bench.plan.suite import Claim
from bench.record.artefacts import made
from bench.record.run import Record, Run
from bench.report.discordant import listed
from bench.report.drawings.curves import CURVES_BY_K, is_number
from bench.report.playing import hard_resets, largest_batch, playing
from bench.report.spent import spent
from bench.report.throughput import throughput
from bench.wording import notes, plans, verdicts
from bench.wording.methods import method_in_words
from bench.wording.numbers import interval_json
from bench.wording.text import sentence_case
from wmvla.rollout.journal import values

REPORT_VERSION = 1
LAST_SHARE = 0.1
"""Figures at the end of a training are means over this share of its noisy steps."""

Content = dict[str, Any]


def report_content(run: Run, differing: Sequence[Content]) -> Content:
    """Everything that a report says of a run; `differing`: its discordant episodes."""
    plan, verdict = run.plan, judge(run.plan, run.rows)
    played = {
        case.id: playing(case.id, run.rows[case.id], run.cases.get(case.id))
        for case in plan.rollout_cases()
    }
    return {
        **_head(run, verdict),
        **_controls(run),
        "complete": verdict.complete,
        "finished": (unfinished := _unfinished(run, verdict)) is None,
        "unfinished": unfinished,
        "episodes": {
            "planned": verdict.planned,
            "finished": verdict.finished,
            "errors": sum(rate.errors for rate in verdict.rates),
            "timeouts": sum(rate.timeouts for rate in verdict.rates),
        },
        "missing": [
            {"case": case, "number": len(lacking), "episodes": as_ranges(lacking)}
            for case, lacking in missing_episodes(plan, run.rows, verdict.progress).items()
        ],
        "playing": list(played.values()),
        "resets_note": notes.resets_note(
            hard_resets(run.rows),
            sum(int((values(rows, "reset") == "cheap").sum()) for rows in run.rows.values()),
        ),
        "batch_note": notes.batch_note(max(map(largest_batch, run.rows.values()), default=1)),
        "sanity": {
            **asdict(verdict.sanity),
            "sentence": sentence_case(verdicts.sanity_sentence(verdict.sanity)),
        },
        "cannot_say": _cannot_say(plan, verdict),
        "rates": [_rate(plan, verdict, rate) for rate in verdict.rates],
        **({"beside": others} if (others := beside(plan, run.rows, run.externals)) else {}),
        "claims": [_claim(plan, result, played) for result in verdict.claims],
        "training": [_training(plan, case_id, lines) for case_id, lines in run.metrics.items()],
        "replays": (
            replays := [
                _replay(plan, case, run.cases[case.id])
                for case in plan.cases
                if case.kind == "replay" and case.id in run.cases
            ]
        ),
        "replays_note": notes.replays_note(plan, len(replays)),
        "discordant": listed(differing),
        "throughput": throughput(run),
        "spent": spent(run),
        "stages": [_stage(case, run.cases.get(case.id)) for case in plan.cases],
        "broken": [
            {
                key: row[key]
                for key in ("case", "index", "task", "init", "repeat", "status", "error")
            }
            for rows in run.rows.values()
            for place in (values(rows, "status") != "ok").nonzero()[0].tolist()
            for row in [rows[place]]
        ],
        "source": _source(run),
        "provenance": run.provenance,
        **({"made": found} if (found := made(run.cases)) else {}),
        "reproduce": reproduce_command(plan),
    }


def _head(run: Run, verdict: Verdict) -> Content:
    """Which run this is, what it asks and by which method, and the answer."""
    plan = run.plan
    return {
        "version": REPORT_VERSION,
        "run": plan.run_name,
        "plan_hash": plan.hash,
        "suite": plan.suite,
        "scale": plan.scale,
        "machine": plan.machine.name,
        "hardware": _hardware(run),
        "question": plan.question,
        "summary": plan.summary,
        "concludes": plan.concludes,
        "seeds": list(plan.seeds),
        "alpha": plan.alpha,
        "method": {**asdict(plan.method), **method_in_words(plan.method)},
        **({"looks": text} if (text := plans.looks_sentence(plan)) else {}),
        "verdict": {
            "decision": verdict.decision,
            "why": verdict.why,
            "reason": sentence_case(verdicts.overall_reason(plan, verdict)),
            "sentence": verdicts.verdict_sentence(plan, verdict),
            "line": verdicts.verdict_line(plan, verdict),
        },
    }


def _unfinished(run: Run, verdict: Verdict) -> str | None:
    """How far an unfinished run is; None of one that has nothing left to do."""
    if not verdict.complete:
        return f"{verdict.finished} of {verdict.planned} episodes are finished."
    undone = [case.id for case in run.plan.cases if case.id not in run.cases]
    if not undone:
        return None
    named = ", ".join(undone[: verdicts.MOST_NAMED]) + (
        ", ..." if len(undone) > verdicts.MOST_NAMED else ""
    )
    return (
        f"All episodes are finished; {len(undone)} of {len(run.plan.cases)} cases are not: {named}."
    )


def _hardware(run: Run) -> str | None:
    """The GPUs, or else the processor: ``2 x AMD Instinct MI300X``; None if not recorded."""
    devices = run.recorded("torch", "devices")
    names = [str(each["name"]) for each in devices or () if "name" in each]
    parts = [
        f"{number} x {name}" if number > 1 else name for name, number in Counter(names).items()
    ]
    if not parts:
        model, cores = run.recorded("cpu", "model"), run.recorded("cpu", "cores_usable")
        parts = [str(model)] if model else []
        parts += [] if cores is None else [f"{cores} cores"]
    return ", ".join(parts) or None


def _source(run: Run) -> Content | None:
    """The commit, and whether there were changes beside it; None where none is recorded."""
    commit, dirty = run.recorded("git", "commit"), run.recorded("git", "dirty")
    return {"commit": str(commit), "dirty": bool(dirty)} if commit else None


def reproduce_command(plan: Plan) -> str:
    """The command that resolves to this very plan, whatever the defaults are where it is given."""
    training, rollout = plan.recipe.training, plan.recipe.rollout
    return (
        f"make bench SUITE={plan.suite} SCALE={plan.scale} MACHINE={plan.machine.name} "
        f"SEEDS={','.join(map(str, plan.seeds))} ARMS={','.join(plan.arms)}"
        f" EPISODES={rollout.episodes} "
        f"STEPS={training.steps} BATCH_SIZE={training.batch_size}"
        f"{f' SEQUENTIAL={plan.sequential.spending}' if plan.sequential else ''}"
    )


def _controls(run: Run) -> Content:
    """What the controls showed: nothing of a control itself, nor of runs older than the look."""
    found = run.controls
    if run.plan.control or (found is None and "code_sha256" not in (run.provenance or {})):
        return {}
    note = controls_note(found)
    controls = found.controls if found and note is None else ()
    broken = any(each.found and each.found.outcome == "failed" for each in controls)
    return {
        "controls": {
            "note": note,
            "warning": BROKEN if broken else None,
            "each": [
                {
                    "suite": control.suite,
                    "kind": control.kind,
                    "outcome": control.found.outcome if control.found else "none",
                    "sentence": control_sentence(control, run.plan.machine.name),
                    "run": control.found.run if control.found else None,
                    "has_report": bool(control.found and control.found.has_report),
                }
                for control in controls
            ],
        }
    }


def _cannot_say(plan: Plan, verdict: Verdict) -> list[str]:
    """The limits of the scale, the seeds, the arms left out, and the number of episodes."""
    said = [*plan.cannot_say, verdicts.seeds_note(plan)]
    left_out = [result.claim.id for result in verdict.claims if not result.claim.asked]
    if left_out:
        said.append(verdicts.not_asked_note(left_out))
    early = [result.claim.id for result in verdict.claims if result.stop.decided_early]
    if early:
        said.append(verdicts.ended_early_note(early))
    return [*said, *plans.out_of_reach_notes(plan)]


def _rate(plan: Plan, verdict: Verdict, rate: Rate) -> Content:
    arm, mode = rate.rollout.rsplit("-", 1)
    return {
        "rollout": rate.rollout,
        "arm": arm,
        "mode": mode,
        "title": plan.arms[arm].title,
        **_rate_figures(rate),
        "seeds": [
            {"seed": single.seed, **_rate_figures(single)}
            for single in verdict.seed_rates
            if single.rollout == rate.rollout
        ],
        "tasks": [
            {"task": single.task, **_rate_figures(single)}
            for single in verdict.task_rates
            if single.rollout == rate.rollout
        ],
    }


def _rate_figures(rate: Rate) -> Content:
    keys = ("planned", "finished", "successes", "errors", "timeouts", "rate", "best_rate")
    lower, upper = rate.interval if rate.finished else (None, None)
    return {**{key: getattr(rate, key) for key in keys}, "lower": lower, "upper": upper}


def _claim(plan: Plan, result: ClaimResult, played: dict[str, Content]) -> Content:
    claim, contrast = result.claim, result.contrast
    takes, effort, steps = None, None, None
    if claim.asked and result.decision != "SUPPORTED":
        limit = limit_of(plan, claim, result.discordance)
        takes = plans.limit_sentence(limit)
        if result.why == "data":
            effort = plans.effort_note(limit, *_hours_a_pair(plan, claim, played))
    if result.steps:
        steps = {**asdict(result.steps), "sentence": notes.steps_sentence(claim, result.steps)}
    return {
        **asdict(claim),
        "decision": result.decision,
        "why": result.why,
        "complete": result.complete,
        "sentence": verdicts.claim_sentence(plan, result),
        "bounds_note": verdicts.bounds_note(result),
        "takes": takes,
        "effort": effort,
        "power": result.power,
        "pairs": contrast.pairs,
        "planned": result.planned,
        "left_only": contrast.left_only,
        "right_only": contrast.right_only,
        "difference": contrast.estimate,
        "interval": interval_json(contrast.interval),
        "tost_interval": interval_json(contrast.tost_interval),
        "p": contrast.p if result.stop.of == 1 else None,  # of several looks it says nothing
        **({"stop": asdict(result.stop)} if result.stop.of > 1 else {}),
        "p_adjusted": result.p_adjusted,
        "p_mcnemar_two_sided": result.p_two_sided,
        "broken": result.broken,
        "bounds": list(result.bounds) if result.bounds else None,
        "design_effect": contrast.design_effect,
        "steps": steps,
    }


def _hours_a_pair(plan: Plan, claim: Claim, played: dict[str, Content]) -> tuple[float | None, str]:
    """Hours of playing one more pair, by what both rollouts have cost here, and the unit."""
    on_cpu = plan.machine.accelerator == "cpu"
    hours = 0.0
    for rollout in (claim.left, claim.right):
        each = [played[case.id] for case in plan.rollout_cases(rollout)]
        if on_cpu:
            costs = [cost["cpu_seconds"] for cost in each]
        else:  # several are played at once
            rates = (cost["episodes_per_minute"] for cost in each)
            costs = [60 / rate if rate else None for rate in rates]
        known = [cost for cost in costs if cost is not None]
        if not known:
            return None, ""
        hours += sum(known) / len(known) / 3600
    return hours, "CPU-hours" if on_cpu else "GPU-hours"


def _training(plan: Plan, case_id: str, lines: list[Record]) -> Content:
    case = plan.case(case_id)
    tail = lines[-max(1, round(LAST_SHARE * len(lines))) :]
    figures = ("loss", "action_loss", "world_loss", "world_cos", "world_gate", "grad_norm")
    return {
        "case": case_id,
        "arm": case.arm,
        "seed": case.seed,
        "planned_steps": plan.recipe.training.steps,
        "steps": lines[-1]["step"] if lines else 0,
        "samples": lines[-1].get("samples") if lines else None,
        "seconds": lines[-1].get("seconds") if lines else None,
        "end": {
            name: _mean([line[name] for line in tail if is_number(line.get(name))])
            for name in figures
        },
        "end_by_k": {key: means for key, _, _ in CURVES_BY_K if (means := _means_by_k(tail, key))},
    }


def _means_by_k(lines: list[Record], key: str) -> list[float]:
    """Means of each k over the lines that have a list of finite numbers there."""
    rows = [
        values
        for line in lines
        if isinstance(values := line.get(key), list) and all(map(is_number, values))
    ]
    return [sum(column) / len(column) for column in zip(*rows, strict=False)]


def _replay(plan: Plan, case: Case, record: Record) -> Content:
    figures = ("episodes", "frames", "queries", "actions", "prophet", "action_error")
    memory = plan.arms[str(case.arm)].memory
    return {
        "case": case.id,
        "arm": case.arm,
        "memory": memory,
        "seed": case.seed,
        **{name: record[name] for name in figures},
    }


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _stage(case: Case, record: Record | None) -> Content:
    spent = {key: (record or {}).get(key) for key in ("seconds", "cpu_seconds")}
    return {"case": case.id, "kind": case.kind, "done": record is not None, **spent}
