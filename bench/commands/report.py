"""`wmbench report`: rebuild the report from the run directory alone, once or for as long as the run
continues."""

import argparse
import contextlib
import json
from pathlib import Path

HELP = "rebuild report.html, report.md and report.json from the files in the run directory"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_dir", metavar="DIR", type=Path, help="run directory")
    parser.add_argument(
        "--templates",
        metavar="FOLDER",
        type=Path,
        help="folder of jinja2 templates; each replaces the built-in one of the same name",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="print report.json instead of the verdict")
    how.add_argument(
        "--follow",
        action="store_true",
        help="rewrite the report while the run continues, until it is finished or until Ctrl-C",
    )


def run(options: argparse.Namespace) -> int:
    if options.json:
        from bench.report.write import write_report
        from bench.verify.manifest import write_manifest

        report = write_report(options.run_dir, options.templates).with_suffix(".json")
        print(report.read_text(), end="")
        write_manifest(options.run_dir, ran=False)
        return 0
    if options.follow:
        from bench.report.follow import follow

        page = options.run_dir / "report.html"
        print(
            f"writing {page} until the run is finished; Ctrl-C stops that, not the run", flush=True
        )
        with contextlib.suppress(KeyboardInterrupt):
            follow(options.run_dir, lambda line: print(line, flush=True), options.templates)
    print_outcome(options.run_dir, options.templates)
    return 0


def print_outcome(run_dir: Path, templates: Path | None = None, ran: bool = False) -> None:
    """Write the report; print the seal of a finished run, the verdict, and where the report is.
    `ran`: a run has just ended here (``bench.verify.manifest``)."""
    from bench.report.write import write_report
    from bench.verify.manifest import write_manifest

    report = write_report(run_dir, templates)
    if seal := write_manifest(run_dir, ran):
        print(f"seal: {seal}")
    print(json.loads(report.with_suffix(".json").read_text())["verdict"]["line"])
    print(f"report: {report}")
