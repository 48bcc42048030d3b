"""A report that is written again while its run goes on."""

import json
import time
from collections.abc import Callable
from pathlib import Path

from bench.report.write import write_report

REFRESH_SECONDS = 10
"""How often the run directory is looked at, and how often an open page loads itself again."""
WATCHED = ("*.json", "cases/*", "failures/*", "episodes/*", "metrics/*", "videos/*.mp4")
OURS = "report.json"

State = frozenset[tuple[str, int, int]]


def state_of(run_dir: Path) -> State:
    """Name, time and size of every file that a report is made from: they differ once it went on."""
    files = [
        path for pattern in WATCHED for path in Path(run_dir).glob(pattern) if path.name != OURS
    ]
    found = set()
    for path in files:
        try:
            status = path.stat()
        except FileNotFoundError:  # a partial file took its name meanwhile
            continue
        found.add((str(path), status.st_mtime_ns, status.st_size))
    return frozenset(found)


def follow(run_dir: Path, announce: Callable[[str], None], templates: Path | None = None) -> Path:
    """Write the report whenever the run has gone on, until it is finished; the path of report.html.
    ``announce`` gets news. Whoever stops this writes the report again, without a refresh."""
    seen, announced = None, ""
    while True:
        state = state_of(run_dir)
        if state != seen:
            report = write_report(run_dir, templates, refresh=REFRESH_SECONDS)
            content = json.loads(report.with_suffix(".json").read_text())
            if content["finished"]:
                return report
            if content["unfinished"] != announced:
                announced = content["unfinished"]
                announce(announced)
            seen = state
        time.sleep(REFRESH_SECONDS)
