"""`wmbench import FILE --as NAME`: show the results of LeRobot's eval_info.json beside ours, marked
UNPAIRED; they have no effect on the verdict."""

import argparse
import json
import re
from pathlib import Path

from bench.commands.options import RESULTS
from wmvla.errors import UserError

HELP = "import an eval_info.json of lerobot-eval or lerobot-wm-eval, to be compared UNPAIRED"
NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("file", metavar="FILE", type=Path, help="eval_info.json")
    add(
        "--as",
        dest="name",
        metavar="NAME",
        required=True,
        help="our rollout to compare it with, for instance E0-none",
    )
    add(
        "--into",
        metavar="DIR",
        type=Path,
        help=(
            "run directory that the result belongs to; default: none, it is kept as a separate "
            "result"
        ),
    )
    add(
        "--results",
        metavar="DIR",
        type=Path,
        help=f"folder for a separate result; default: {RESULTS}",
    )
    add("--json", action="store_true", help="print what was imported")


def run(options: argparse.Namespace) -> int:
    from bench.compare.external_words import imported_line
    from bench.compare.import_lerobot import read_eval_info
    from bench.plan.files import load_plan
    from bench.record.external import FOLDER, write_external

    if not NAME.fullmatch(options.name):
        raise UserError(
            f"--as '{options.name}': must be letters, digits, '-', '_' or '.', like E0-none"
        )
    if options.into and options.results:
        raise UserError("--into and --results are two places for one result; give one of them")
    if options.into:
        load_plan(options.into)
    external = read_eval_info(options.file, options.name)
    path = (options.into or options.results or RESULTS) / FOLDER / f"{options.name}.json"
    write_external(external, path)
    if options.json:
        print(json.dumps(external.to_json(), indent=1))
        return 0
    for each in external.tables:
        print(
            imported_line(each.rollout, each.suite, each.successes, each.episodes, each.not_played)
        )
    print(f"imported: {path}")
    return 0
