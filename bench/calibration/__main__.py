"""`python -m bench.calibration`: simulate, enumerate, print a table, write docs/calibration.json and docs/calibration.png.

Exit code 0: every promise is kept; 1: one is broken.
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.calibration.checks import Check, exact_checks, experiment_checks, looks_checks, table
from bench.calibration.experiments import run_scenario
from bench.calibration.looks import DESIGNS, run_design
from bench.calibration.picture import draw_picture
from bench.calibration.scenarios import SCENARIOS, simulated_plan
from bench.suite import SUITES
from wmvla.files import write_json
from wmvla.progress import Progress

SEED = 20260


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.calibration", description=__doc__)
    parser.add_argument("--experiments", type=_count, default=2000, metavar="N", help="of each scenario; default: 2000")
    parser.add_argument("--out", type=Path, default=SUITES.parent / "docs", metavar="DIR", help="default: docs/")
    options = parser.parse_args(argv)
    alpha = simulated_plan(SCENARIOS[0]).alpha
    checks: list[Check] = []
    for number, scenario in enumerate(SCENARIOS):
        progress = Progress(scenario.name[:15], options.experiments)
        checks += experiment_checks(run_scenario(scenario, options.experiments, SEED + number, progress.update))
    designs = []
    for number, design in enumerate(DESIGNS):
        progress = Progress(f"looks {number + 1}/{len(DESIGNS)}", options.experiments)
        designs.append(run_design(design, alpha, options.experiments, SEED + 100 + number, progress.update))
        checks += looks_checks(designs[-1])
    checks += exact_checks(alpha)
    write_json(
        options.out / "calibration.json",
        {
            "experiments": options.experiments,
            "seed": SEED,
            "alpha": alpha,
            "scenarios": [dataclasses.asdict(scenario) for scenario in SCENARIOS],
            "looks": [dataclasses.asdict(tally) for tally in designs],
            "checks": [dataclasses.asdict(check) for check in checks],
        },
    )
    draw_picture(
        checks,
        f"Calibration: {options.experiments} simulated experiments of each scenario, judged by the program itself",
        options.out / "calibration.png",
    )
    print("\n".join(table(checks)))
    return 0 if all(check.holds for check in checks) else 1


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
