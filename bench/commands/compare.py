"""`wmbench compare A B [...]`: check whether later runs are worse than the first; with --parity,
check whether two runs are the same experiment."""

import argparse
import json
from pathlib import Path

from wmvla.errors import UserError

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
    from bench.compare.words import comparison_json, comparison_markdown, comparison_text

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


def _parity(options: argparse.Namespace) -> int:
    from bench.compare.parity import compare
    from bench.compare.parity_words import parity_json, parity_page
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
        print(json.dumps(parity_json(parity), indent=1))
    else:
        print(parity_page(parity), end="")
    return 0 if parity.holds else 1
