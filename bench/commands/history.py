"""`wmbench history`: draw success and speed of all runs over time, as one self-contained page."""

import argparse
import json
import sys
from pathlib import Path

from bench.commands.options import RESULTS

HELP = "draw success and speed of all runs over time, by suite, scale and machine, as one HTML page"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "results",
        metavar="RESULTS",
        type=Path,
        nargs="?",
        default=RESULTS,
        help="folder of run directories, default: results",
    )
    add("--output", metavar="FILE", type=Path, help="the page, default: RESULTS/history.html")
    add("--json", action="store_true", help="print the numbers as JSON instead of drawing a page")


def run(options: argparse.Namespace) -> int:
    """0, also where a run cannot be read: it is named, on the page and on standard error."""
    from dataclasses import asdict

    from bench.report.history.page import groups, summary, write_page
    from bench.report.history.runs import read_history

    history = read_history(options.results)
    for folder, why in history.unreadable:
        print(f"not shown: {folder}: {why}", file=sys.stderr)
    if options.json:
        print(json.dumps(asdict(history), indent=1))
        return 0
    path = write_page(history, options.output or options.results / "history.html")
    print(summary(len(history.entries), len(groups(history)), len(history.unreadable)))
    print(f"history: {path}")
    return 0
