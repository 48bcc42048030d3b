"""`python -m bench.calibration`: simulate, print a table, write docs/calibration.json and .png.
Exit code 0: every promise is kept; 1: one is broken."""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

from bench.calibration.checks import Check, exact_checks, experiment_checks, table
from bench.calibration.experiments import Tally, run_scenario
from bench.calibration.picture import draw_picture
from bench.calibration.scenarios import SCENARIOS, SEQUENTIAL, Scenario, simulated_plan
from bench.host.folders import working_folder
from bench.host.hardware import core_count
from wmvla.files import write_json
from wmvla.progress import Progress

SEED = 20260


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.calibration", description=__doc__)
    parser.add_argument(
        "--experiments",
        type=_count,
        default=2000,
        metavar="N",
        help="of each scenario; default: 2000",
    )
    parser.add_argument(
        "--out", type=Path, default=working_folder() / "docs", metavar="DIR", help="default: docs/"
    )
    options = parser.parse_args(argv)
    alpha = simulated_plan(SCENARIOS[0]).alpha
    checks: list[Check] = []
    numbered = list(enumerate((*SCENARIOS, *SEQUENTIAL)))
    with ProcessPoolExecutor(max_workers=core_count()) as pool:
        numbers, scenarios = zip(*numbered, strict=True)
        tallies = list(pool.map(_experiments, numbers, scenarios, repeat(options.experiments)))
    for tally in tallies:
        checks += experiment_checks(tally)
    checks += exact_checks(alpha)
    write_json(
        options.out / "calibration.json",
        {
            "experiments": options.experiments,
            "seed": SEED,
            "alpha": alpha,
            "experiments_of": [dataclasses.asdict(tally) for tally in tallies],
            "checks": [dataclasses.asdict(check) for check in checks],
        },
    )
    title = (
        f"Calibration: {options.experiments} simulated experiments of each scenario, judged by the"
        " program itself"
    )
    draw_picture(checks, title, options.out / "calibration.png")
    print("\n".join(table(checks)))
    return 0 if all(check.holds for check in checks) else 1


def _experiments(number: int, scenario: Scenario, experiments: int) -> Tally:
    """In a process of its own; says how far it is."""
    return run_scenario(
        scenario, experiments, SEED + number, Progress(scenario.name[:15], experiments).update
    )


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
