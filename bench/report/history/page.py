"""The history as one self-contained HTML page. Pure: the bytes depend on the runs alone."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from bench.compare.context import table_row
from bench.compare.external_words import BESIDE
from bench.report.history.charts import Chart, Series, Value, ceiling, draw
from bench.report.history.runs import Entry, History
from bench.report.templating import environment
from wmvla.files import write_file

TEMPLATES = Path(__file__).parent / "templates"
TRAINING, EPISODE = "samples/s", "s an episode"
TITLE = "Runs over time"
LEAD = (
    "Every run below this folder, by suite, scale and machine. Runs are drawn at equal "
    "distances, in the order in which they began. A line joins only runs of the same plan, "
    "because another plan answers another question. Intervals are Wilson's at 95 %, for the "
    "episodes of one run. Do not judge a difference between two runs by eye: wmbench compare "
    "pairs their episodes."
)
NO_RUNS = "There is no run here yet."
UNDATED = "no date"


def write_page(history: History, path: Path) -> Path:
    """Write the page. UserError where it cannot be written."""
    write_file(path, render(history).encode())
    return path


def render(history: History) -> str:
    shown = environment(jinja2.FileSystemLoader(TEMPLATES), autoescape=True)
    return shown.get_template("history.html.j2").render(page_content(history))


def page_content(history: History) -> dict[str, Any]:
    return {
        "title": TITLE,
        "lead": LEAD,
        "no_runs": NO_RUNS,
        "groups": [_group(key, entries) for key, entries in groups(history).items()],
        "unreadable_note": _unreadable_note(len(history.unreadable)),
        "unreadable": history.unreadable,
        "beside": BESIDE,
        "others": [
            {**table_row(each, table), "flaws": each.flaws}
            for each in history.externals
            for table in each.tables
        ],
    }


def summary(runs: int, groups: int, unreadable: int) -> str:
    line = (
        f"{runs} run{'s' * (runs != 1)} in {groups} group{'s' * (groups != 1)} of suite, scale and"
        " machine"
    )
    return f"{line}; {unreadable} unreadable" if unreadable else line


def _unreadable_note(number: int) -> str:
    """Above the list of what is not in any chart."""
    if number == 1:
        return "One folder is not in any chart, because it could not be read:"
    return f"{number} folders are not in any chart, because they could not be read:"


def groups(history: History) -> dict[tuple[str, str, str], list[Entry]]:
    """The runs by suite, scale and machine, in order of their names."""
    found: dict[tuple[str, str, str], list[Entry]] = defaultdict(list)
    for entry in history.entries:
        found[entry.suite, entry.scale, entry.machine].append(entry)
    return dict(sorted(found.items()))


def _group(key: tuple[str, str, str], entries: Sequence[Entry]) -> dict[str, Any]:
    dates = [entry.when or UNDATED for entry in entries]
    plans = [entry.plan_hash for entry in entries]
    rollouts = dict.fromkeys(
        rate["rollout"] for entry in entries for rate in entry.content["rates"]
    )
    success = [_success(name, entries) for name in rollouts]
    charts = [draw("Success, per cent", "%", dates, plans, success, 100.0)]
    costs = (("Training, samples a second", TRAINING), ("Playing, seconds an episode", EPISODE))
    drawn = [_costs(title, unit, dates, plans, entries) for title, unit in costs]
    charts += [chart for chart in drawn if chart]
    return {
        "title": "{} at {} on {}".format(*key),
        "charts": charts,
        "rollouts": list(rollouts),
        "runs": [_run(*each, list(rollouts)) for each in zip(entries, dates, strict=True)],
    }


def _success(rollout: str, entries: Sequence[Entry]) -> Series:
    values: list[Value | None] = []
    for entry in entries:
        found = [rate for rate in entry.content["rates"] if rate["rollout"] == rollout]
        shown = bool(found) and found[0]["rate"] is not None
        shares = (100 * found[0][key] for key in ("rate", "lower", "upper")) if shown else ()
        values.append(Value(*shares) if shown else None)
    return Series(rollout, tuple(values))


def _costs(
    title: str, unit: str, dates: list[str], plans: list[str], entries: Sequence[Entry]
) -> Chart | None:
    """A chart of one kind of cost of every case; None if no run has it."""
    recorded = [
        {cost["case"]: cost["value"] for cost in entry.content["costs"] if cost["unit"] == unit}
        for entry in entries
    ]
    cases = dict.fromkeys(case for each in recorded for case in each)
    if not cases:
        return None
    series = [
        Series(case, tuple(Value(each[case]) if case in each else None for each in recorded))
        for case in cases
    ]
    most = ceiling([value for each in recorded for value in each.values()])
    return draw(title, unit, dates, plans, series, most)


def _run(entry: Entry, date: str, rollouts: Sequence[str]) -> dict[str, Any]:
    rates = {rate["rollout"]: rate for rate in entry.content["rates"]}
    costs = {
        unit: [cost for cost in entry.content["costs"] if cost["unit"] == unit]
        for unit in (TRAINING, EPISODE)
    }
    return {
        **entry.content,
        "folder": entry.folder,
        "when": date,
        "plan": entry.plan_hash[:8],
        "cells": [rates.get(rollout) for rollout in rollouts],
        "training": [f"{cost['case']} {cost['value']:.4g}" for cost in costs[TRAINING]],
        "playing": [f"{cost['case']} {cost['value']:.3g}" for cost in costs[EPISODE]],
    }
