"""What the throughput suite measured on the run's machine, beside reference and peak. Pure."""

from typing import Any

from bench.record.run import Record, Run
from bench.report.drawings.curves import is_number

Content = dict[str, Any]

KNOWN = ("reference", "least", "most", "percent_of_peak", "percent_of_gemm")
"""What has a column of its own; other numbers of a figure stand beside it."""


def throughput(run: Run) -> list[Content] | None:
    """The figures in the order of measurement; None without ``throughput.json`` in the run."""
    return None if run.speeds is None else [_figure(speed) for speed in run.speeds]


def _figure(speed: Record) -> Content:
    columns = ("figure", "unit", "value", "machine", "judgement", "reference_date", *KNOWN)
    return {
        "figure": str(speed["figure"]),
        "machine": str(speed.get("machine", "")),
        "value": speed["value"],
        "unit": speed["unit"],
        "judgement": str(speed.get("judgement", "no reference")),
        "reference_date": str(speed["reference_date"]) if "reference_date" in speed else None,
        **{key: speed.get(key) if is_number(speed.get(key)) else None for key in KNOWN},
        "beside": {
            key: value for key, value in speed.items() if key not in columns and is_number(value)
        },
    }
