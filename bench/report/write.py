"""Writes report.json, report.md and report.html into a run directory.

Pure: the bytes depend on what the run directory holds and on nothing else - no clock, no host, no path.
"""

import json
import re
from pathlib import Path
from typing import Any

import jinja2

from bench import number_format
from bench.report import figures
from bench.report.content import report_content
from bench.report.records import read_run
from wmvla.errors import UserError

TEMPLATES = Path(__file__).parent / "templates"
DIGITS = 9
"""Decimal places of numbers in report.json: more are rounding noise that differs between machines."""


def write_report(run_dir: Path) -> Path:
    """Write the three reports of a run, finished or not, and return the path of report.html.

    Raises UserError where the run directory is none, is damaged or cannot be written.
    """
    run_dir = Path(run_dir)
    run = read_run(run_dir)
    content = _rounded(report_content(run))
    shown = {
        "report": content,
        "forest": figures.forest(content["claims"]),
        "rates": figures.rates(content),
        "curves": figures.curves(run),
        "prophet": figures.prophet(run, content),
        "line_styles": figures.line_styles(run.plan),
        "grids": figures.grids(run),
    }
    environment = _environment()
    texts = {
        "report.json": json.dumps(content, indent=1, ensure_ascii=False) + "\n",
        "report.md": environment.get_template("report.md.j2").render(shown),
        "report.html": environment.get_template("report.html.j2").render(shown),
    }
    try:
        for name, text in texts.items():
            partial = run_dir / f".{name}.partial"
            partial.write_text(text, encoding="utf-8")
            partial.replace(run_dir / name)
    except OSError as error:
        raise UserError(f"{run_dir}: cannot write the report: {error.strerror}") from None
    return run_dir / "report.html"


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=jinja2.select_autoescape(enabled_extensions=("html.j2", "css")),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "percent": number_format.percent,
        "points": number_format.points,
        "p_value": number_format.p_value,
        "duration": duration,
        "figure": figure,
        "cosine": cosine,
        "typeset": typeset,
        "one_line": one_line,
    }
    return environment


def duration(seconds: float | None) -> str:
    """``2 h 05 min``, ``3 min 20 s`` or ``4.1 s``."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def figure(value: float | None) -> str:
    """A number of a training, to three digits."""
    return "-" if value is None else f"{value:.3g}"


def cosine(value: float) -> str:
    """A cosine, to two decimal places."""
    return f"{value:.2f}"


def typeset(text: str) -> str:
    """With true minus signs, a dash for what is missing, and no line break before a per cent sign."""
    if text == "-":
        return "\N{EN DASH}"
    text = re.sub(r"(?<![\w.])-(?=\d)|(?<= )-(?= )", "\N{MINUS SIGN}", text)
    return re.sub(r"(?<=\d) (?=%)", "\N{NO-BREAK SPACE}", text)


def one_line(text: str | None) -> str:
    """Fit for a cell of a Markdown table."""
    return " ".join((text or "").split()).replace("|", r"\|").replace("<", "&lt;")


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value
