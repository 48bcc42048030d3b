"""`wmbench compare A B [...]`: check whether later runs are worse than the first; with --parity,
check whether two runs are the same experiment."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wmvla.errors import UserError

if TYPE_CHECKING:
    from bench.compare.parity import Parity
    from bench.compare.regressions import Compared, Comparison
    from wmvla.rollout.tally import Tally

HELP = (
    "compare runs, paired by episode: which rollouts got worse; or whether one plan gives the same"
    " on two machines"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "places",
        metavar="RUN",
        type=Path,
        nargs="+",
        help="run directories, the baseline first; or imported results (.json)",
    )
    add(
        "--parity",
        action="store_true",
        help=(
            "for two runs of one plan on two machines: print a one-page certificate that they "
            "are the same experiment, or what differs"
        ),
    )
    add(
        "--unpaired",
        action="store_true",
        help="also compare results that cannot be paired by episode; they are marked UNPAIRED",
    )
    add(
        "--regression",
        metavar="LOSS",
        type=float,
        default=0.0,
        help="loss of success that is accepted, 0.05 for five points; default: none",
    )
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="print the findings as JSON")
    shape.add_argument(
        "--markdown", action="store_true", help="print them as Markdown, for a pull request"
    )


def run(options: argparse.Namespace) -> int:
    """0: parity, or no regression is shown. 1: one is, or is left open. 2: not comparable."""
    return _parity(options) if options.parity else _compare(options)


def _compare(options: argparse.Namespace) -> int:
    from bench.compare.regressions import compare
    from bench.compare.sides import load_sides
    from bench.compare.words import comparison_markdown, comparison_text

    if not 0 <= options.regression < 1:
        raise UserError(
            f"--regression {options.regression:g}: must be at least 0 and less than 1, 0.05 for"
            " five points"
        )
    comparison = compare(load_sides(options.places), options.regression, options.unpaired)
    if options.json:
        print(json.dumps(comparison_json(comparison), indent=1))
    else:
        text = comparison_markdown if options.markdown else comparison_text
        print(text(comparison), end="")
    return 0 if comparison.passes else 1


def comparison_json(comparison: "Comparison") -> dict[str, Any]:
    """What ``--json`` prints (``bench/formats/schemas/comparison.schema.json``)."""
    from bench.compare.differences import what_differs
    from bench.compare.speed import costs
    from bench.compare.words import rule, verdict

    baseline, *others = comparison.sides
    assert baseline.run is not None
    return {
        "version": 1,
        "passes": comparison.passes,
        "verdict": verdict(comparison),
        "rule": rule(comparison),
        "alpha": comparison.alpha,
        "threshold": comparison.threshold,
        "baseline": baseline.name,
        "rollouts": [_rollout(each) for each in comparison.rollouts],
        "left_out": [
            {"against": name, "rollout": rollout, "why": why}
            for name, rollout, why in comparison.left_out
        ],
        "unpaired_because": dict(comparison.unpaired_because),
        "costs": {
            side.name: [asdict(cost) for cost in costs(side.run)]
            for side in comparison.sides
            if side.run
        },
        "differences": {
            side.name: what_differs(baseline.run, side.run) for side in others if side.run
        },
    }


def _rollout(each: "Compared") -> dict[str, Any]:
    candidate, interval = each.candidate, each.interval
    return {
        "rollout": candidate.rollout,
        "against": candidate.other,
        "label": candidate.label,
        "paired": candidate.paired,
        "status": each.status,
        "baseline": _tally(candidate.baseline),
        "later": _tally(candidate.later),
        "missing": candidate.missing,
        "difference": each.difference,
        "interval": {
            "confidence": interval.confidence,
            "lower": interval.lower,
            "upper": interval.upper,
        },
        "only_later": candidate.won,
        "only_baseline": candidate.lost,
        "p": each.p,
        "p_adjusted": each.p_adjusted,
        "not_excluded": each.not_excluded,
        "findable": each.findable,
        "steps": asdict(candidate.steps) if candidate.steps else None,
    }


def _tally(tally: "Tally") -> dict[str, int]:
    return {"successes": tally.successes, "episodes": tally.episodes, "broken": tally.broken}


def _parity(options: argparse.Namespace) -> int:
    from bench.compare.parity import compare
    from bench.compare.parity_words import parity_page
    from bench.record.run import Run

    if len(options.places) != 2:
        raise UserError(f"--parity compares two runs; {len(options.places)} are given")
    first, second = options.places
    if first.resolve() == second.resolve():
        raise UserError(f"{first}: this run is given twice; give two different run directories")
    for name in ("unpaired", "regression", "markdown"):
        if getattr(options, name):
            raise UserError(
                f"--{name} cannot be used with --parity, which has its own rule and prints "
                "Markdown; leave it out"
            )
    parity = compare(Run(first), Run(second))
    if options.json:
        print(json.dumps(_parity_json(parity), indent=1))
    else:
        print(parity_page(parity), end="")
    return 0 if parity.holds else 1


def _parity_json(parity: "Parity") -> dict[str, Any]:
    from bench.compare.parity_words import verdict

    return {
        "parity": parity.holds,
        "verdict": verdict(parity),
        "margin": parity.margin,
        "findings": [
            {"what": each.what, "status": each.status, "told": list(each.lines)}
            for each in parity.aspects
        ],
        "successes": [
            {
                "rollout": each.rollout,
                "status": each.status,
                "planned": each.planned,
                "pairs": each.contrast.pairs,
                "difference": each.contrast.estimate,
                "interval": [each.contrast.tost_interval.lower, each.contrast.tost_interval.upper],
            }
            for each in parity.successes
        ],
        "speeds": [asdict(each) for each in parity.speeds],
    }
