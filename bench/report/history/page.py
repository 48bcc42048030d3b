"""The history as one self-contained HTML page. Pure: the bytes depend on the runs and on nothing
else - no clock, no host."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from bench.compare.external_words import BESIDE, where
from bench.judge.stats.rates import wilson_interval
from bench.report.history import words as wording
from bench.report.history.charts import Chart, Series, Value, ceiling, draw
from bench.report.history.runs import Entry, History
from bench.wording import numbers
from wmvla.errors import UserError

TEMPLATES = Path(__file__).parent / "templates"
TRAINING, EPISODE = "samples/s", "s an episode"
CONFIDENCE = 0.95


def write_page(history: History, path: Path) -> Path:
    """Write the page. UserError where it cannot be written."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(render(history), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot write the history: {error.strerror}") from None
    return path


def render(history: History) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"percent": numbers.percent}
    return environment.get_template("history.html.j2").render(page_content(history))


def page_content(history: History) -> dict[str, Any]:
    """What the template shows."""
    return {
        "title": wording.TITLE,
        "lead": wording.LEAD,
        "no_runs": wording.NO_RUNS,
        "groups": [_group(key, entries) for key, entries in groups(history).items()],
        "unreadable_note": wording.unreadable_note(len(history.unreadable)),
        "unreadable": history.unreadable,
        "beside": BESIDE,
        "others": [
            {
                "who": each.name,
                "rollout": table.rollout,
                "label": table.label,
                "where": where(table.suite, table.tasks),
                "rate": table.successes / table.episodes,
                "interval": wilson_interval(table.successes, table.episodes, CONFIDENCE),
                "episodes": table.episodes,
                "flaws": each.flaws,
            }
            for each in history.externals
            for table in each.tables
        ],
    }


def groups(history: History) -> dict[tuple[str, str, str], list[Entry]]:
    """The runs by suite, scale and machine, in order of their names."""
    found: dict[tuple[str, str, str], list[Entry]] = defaultdict(list)
    for entry in history.entries:
        found[entry.suite, entry.scale, entry.machine].append(entry)
    return dict(sorted(found.items()))


def _group(key: tuple[str, str, str], entries: Sequence[Entry]) -> dict[str, Any]:
    dates = [entry.when or wording.UNDATED for entry in entries]
    plans = [entry.plan_hash for entry in entries]
    rollouts = dict.fromkeys(
        rate["rollout"] for entry in entries for rate in entry.content["rates"]
    )
    charts = [
        draw(
            "Success, per cent",
            "%",
            dates,
            plans,
            [_success(name, entries) for name in rollouts],
            100.0,
        )
    ]
    for title, unit in (
        ("Training, samples a second", TRAINING),
        ("Playing, seconds an episode", EPISODE),
    ):
        chart = _costs(title, unit, dates, plans, entries)
        charts += [chart] if chart else []
    return {
        "title": wording.group_title(*key),
        "charts": charts,
        "rollouts": list(rollouts),
        "runs": [
            _run(entry, date, list(rollouts)) for entry, date in zip(entries, dates, strict=True)
        ],
    }


def _success(rollout: str, entries: Sequence[Entry]) -> Series:
    values: list[Value | None] = []
    for entry in entries:
        (rate,) = [rate for rate in entry.content["rates"] if rate["rollout"] == rollout] or [None]
        known = rate is not None and rate["rate"] is not None
        values.append(
            Value(100 * rate["rate"], 100 * rate["lower"], 100 * rate["upper"]) if known else None
        )
    return Series(rollout, tuple(values))


def _costs(
    title: str, unit: str, dates: list[str], plans: list[str], entries: Sequence[Entry]
) -> Chart | None:
    """A chart of one kind of cost of every case; None where no run tells it."""
    told = [
        {cost["case"]: cost["value"] for cost in entry.content["costs"] if cost["unit"] == unit}
        for entry in entries
    ]
    cases = dict.fromkeys(case for each in told for case in each)
    if not cases:
        return None
    series = [
        Series(case, tuple(Value(each[case]) if case in each else None for each in told))
        for case in cases
    ]
    return draw(
        title,
        unit,
        dates,
        plans,
        series,
        ceiling([value for each in told for value in each.values()]),
    )


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
