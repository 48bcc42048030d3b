"""Writes report.json, report.md and report.html into a run directory. Pure: the bytes depend on
what the run directory holds and on nothing else: clock, host or path."""

import contextlib
import gc
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.record.run import Run, read_run
from bench.report.content import report_content
from bench.report.discordant import discordant, filmed, single_films
from bench.report.drawings import figures
from bench.report.drawings.curves import curves, curves_by_k, line_styles, prophet
from bench.report.drawings.grids import grids
from bench.report.templating import Templates
from wmvla.files import write_file

DIGITS = 9
"""Decimal places of numbers in report.json: more are rounding noise that differs by machine."""


def write_report(run_dir: Path, templates: Path | None = None, refresh: int | None = None) -> Path:
    """Write the three reports of a run, finished or not, and return the path of report.html.

    `templates`: a user's folder of templates (``bench.report.templating``). `refresh`: seconds
    after which an open page of an unfinished run loads itself again. UserError if the run directory
    is none, is damaged or cannot be written.
    """
    run_dir = Path(run_dir)
    for name, content in make_reports(run_dir, templates, refresh).items():
        write_file(run_dir / name, content)
    return run_dir / "report.html"


def make_reports(
    run_dir: Path,
    templates: Path | None = None,
    refresh: int | None = None,
    films: frozenset[str] | None = None,
) -> dict[str, bytes]:
    """The reports by file name. `films`: names that are taken to be in ``videos/``, instead of
    those that are. UserError if the run directory is none or is damaged.
    """
    with _no_garbage_collection():
        run = read_run(run_dir)
        run = run if films is None else run.with_parts(films=films)
        return _reports(run, Templates(templates), refresh)


def _reports(run: Run, templates: Templates, refresh: int | None) -> dict[str, bytes]:
    differing = discordant(run)
    content = _rounded(report_content(run, differing))
    shown = {
        "report": content,
        "refresh": None if content["finished"] else refresh,
        "forest": figures.forest(content["claims"]),
        "rates": figures.rates(content),
        "curves": curves(run),
        "curves_by_k": curves_by_k(run),
        "prophet": prophet(run, content),
        "line_styles": line_styles(run.plan),
        "grids": grids(run),
        "discordant": filmed(differing, run.films),
        "films": single_films(run),
    }
    return {
        "report.json": as_json(content, templates.sha256),
        "report.md": _encoded(templates.render("report.md.j2", shown)),
        "report.html": _encoded(templates.render("report.html.j2", shown)),
    }


def as_json(content: Mapping[str, Any], templates_sha256: str | None) -> bytes:
    """report.json; `templates_sha256`: of a user's own templates that made the page, or None."""
    made_with = {"templates": templates_sha256} if templates_sha256 else {}
    content = {**content, **made_with}
    return _encoded(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _encoded(text: str) -> bytes:
    """As UTF-8, half characters of foreign file names as their escapes."""
    return text.encode("utf-8", "backslashreplace")


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Looking for cycles among a million rows costs a tenth of the time, and finds nothing."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _rounded(value: Any) -> Any:
    """Without noise in the last digits, and without numbers that JSON does not have."""
    if isinstance(value, float):
        return round(value, DIGITS) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value
