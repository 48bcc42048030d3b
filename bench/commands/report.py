"""`wmbench report`: rebuilds a report from its run directory alone."""

import argparse
import json
from pathlib import Path

HELP = "rebuild report.html, report.md and report.json from plan and journals"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_dir", metavar="DIR", type=Path, help="run directory")
    parser.add_argument("--json", action="store_true", help="print report.json instead of the verdict")


def run(options: argparse.Namespace) -> int:
    if options.json:
        from bench.report.write import write_report
        from bench.verify.manifest import write_manifest

        print(write_report(options.run_dir).with_suffix(".json").read_text(), end="")
        write_manifest(options.run_dir, ran=False)
    else:
        tell(options.run_dir)
    return 0


def tell(run_dir: Path, ran: bool = False) -> None:
    """Write the report and print the seal of a finished run, the verdict in one line, and last where the report is.

    `ran`: a run has just ended here (``bench.verify.manifest``).
    """
    from bench.report.write import write_report
    from bench.verify.manifest import write_manifest

    report = write_report(run_dir)
    if seal := write_manifest(run_dir, ran):
        print(f"seal: {seal}")
    print(json.loads(report.with_suffix(".json").read_text())["verdict"]["line"])
    print(f"report: {report}")
