"""`wmbench compare A B --parity`: whether two runs of one plan on two machines are one experiment."""

import argparse
import json
from pathlib import Path

from wmvla.errors import UserError

HELP = "compare two runs: whether the same plan gives the same on two machines"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("first", metavar="A", type=Path, help="run directory")
    parser.add_argument("second", metavar="B", type=Path, help="run directory of the same plan on another machine")
    parser.add_argument(
        "--parity",
        action="store_true",
        required=True,
        help="print a one-page certificate that the two are one experiment, or what differs; exit code 0 or 1",
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(options: argparse.Namespace) -> int:
    """0: parity. 1: something differs, or is not shown. 2: what was given is no pair of runs."""
    from bench.parity import compare, load_run
    from bench.wording.parity import parity_page, verdict

    if options.first.resolve() == options.second.resolve():
        raise UserError(f"{options.first}: a run is always like itself; give two run directories")
    parity = compare(load_run(options.first), load_run(options.second))
    if options.json:
        content = {
            "parity": parity.holds,
            "verdict": verdict(parity),
            "margin": parity.margin,
            "findings": [{"what": each.what, "status": each.status, "told": list(each.told)} for each in parity.findings],
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
            "speeds": [
                {"figure": each.figure, "unit": each.unit, "values": each.values, "normalised": each.normalised}
                for each in parity.speeds
            ],
        }
        print(json.dumps(content, indent=1))
    else:
        print(parity_page(parity), end="")
    return 0 if parity.holds else 1
