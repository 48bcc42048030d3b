"""Row by row: is each journal the plan's table, every episode once, scenes alike in all arms?"""

from collections import defaultdict
from operator import itemgetter
from pathlib import Path
from typing import Any

import msgspec

from bench.formats.strict_json import NotStrictError, parse
from bench.plan.cases import Case
from bench.plan.document import Plan
from bench.record.forms import problems
from bench.record.journal import differing_key, journal_path
from bench.verify.damage import Findings
from wmvla.errors import answer_of_system
from wmvla.json_lines import read_objects
from wmvla.rollout.journal import ROWS, Row, journal_files
from wmvla.rollout.tally import tally

Placed = tuple[Row, str, int]
"""A row, and the file and line where it stands."""


def check_journals(
    found: Findings, plan: Plan, records: dict[str, dict[str, Any]]
) -> dict[str, list[Row]]:
    """Check every line of every journal. The good rows by rollout case, in table order."""
    rows_by_case = {
        case.id: _check_case(found, plan, case, records.get(case.id))
        for case in plan.rollout_cases()
    }
    _check_scenes(found, rows_by_case)
    known = {
        path for case in rows_by_case for path in journal_files(journal_path(found.run_dir, case))
    }
    for path in sorted((found.run_dir / "episodes").glob("[!.]*.jsonl")):
        if path not in known:
            found.damage(f"episodes/{path.name}", "not the journal of a rollout of the plan")
    number = sum(map(len, rows_by_case.values()))
    found.checked.append(
        f"{number} episodes of {len(rows_by_case)} rollouts against the episode table"
    )
    return {
        case: sorted((row for row, _, _ in rows), key=itemgetter("index"))
        for case, rows in rows_by_case.items()
    }


def _check_case(
    found: Findings, plan: Plan, case: Case, record: dict[str, Any] | None
) -> list[Placed]:
    """The good rows of a case, each with its place."""
    rows: list[Placed] = []
    places: dict[int, tuple[str, int]] = {}
    for path in journal_files(journal_path(found.run_dir, case.id)):
        file = f"episodes/{path.name}"
        for number, row in read_lines(found, file, path, Row, record is not None, ROWS):
            problem = _alien(plan, case, row)
            if problem:
                found.damage(file, f"line {number}: {problem}")
                continue
            index = row["index"]
            if index in places:
                first, line = places[index]
                found.damage(
                    file, f"line {number}: episode {index} is already in {first} line {line}"
                )
                continue
            places[index] = file, number
            rows.append((row, file, number))
    if record is not None:
        _check_record(found, plan, case, record, [row for row, _, _ in rows])
    return rows


def read_lines(
    found: Findings,
    file: str,
    path: Path,
    form: Any,
    done: bool,
    decoder: msgspec.json.Decoder[Any] | None = None,
) -> list[tuple[int, Any]]:
    """The lines of a file that are JSON and have a form, numbered; the others are damages. A last
    line without its newline is one that is being written, or that a killed run left: a damage if
    the case is done. With a decoder all lines are read at once if none is wrong."""
    try:
        text = path.read_bytes()
    except OSError as error:
        found.damage(file, f"cannot be read: {answer_of_system(error)}")
        return []
    whole = text[: text.rfind(b"\n") + 1]
    if len(whole) < len(text):
        number = whole.count(b"\n") + 1
        if done:
            found.damage(file, f"line {number}: cut off, its end is missing")
        else:
            found.notes.append(f"{file}: line {number} is only half written; it does not count")
    if decoder is not None and (read := read_objects(whole, decoder)) is not None:
        return list(enumerate(read, start=1))
    good = []
    for number, line in enumerate(whole.split(b"\n")[:-1], start=1):
        try:
            content = parse(line)
        except NotStrictError as error:
            found.damage(file, f"line {number}: {error}")
            continue
        wrong = list(problems(form, content))
        for problem in wrong:
            found.damage(file, f"line {number}: {problem}")
        if not wrong:
            good.append((number, content))
    return good


def _alien(plan: Plan, case: Case, row: Row) -> str | None:
    """Why a row is not one of the case's in the plan."""
    if row["case"] != case.id:
        return f"'case' is {row['case']!r}, in the journal of {case.id}"
    if row["index"] >= len(plan.episodes):
        return f"'index' is {row['index']}, the plan's table has {len(plan.episodes)} episodes"
    planned = plan.episodes[row["index"]]
    if (key := differing_key(row, planned)) is not None:
        return (
            f"'{key}' is {row[key]!r}, the plan says {getattr(planned, key)!r} of episode"
            f" {row['index']}"
        )
    if row["success"] and row["status"] != "ok":
        return f"'success' is true, but 'status' is {row['status']!r}"
    most_steps = plan.recipe.environment.max_steps
    if row["steps"] > most_steps:
        return f"'steps' is {row['steps']}, an episode has at most {most_steps}"
    return None


def _check_record(
    found: Findings, plan: Plan, case: Case, record: dict[str, Any], rows: list[Row]
) -> None:
    """The case is done: all of its episodes are there, and the record's figures are theirs."""
    file = f"cases/{case.id}.json"
    indices = {row["index"] for row in rows}
    if plan.last_look == 1:
        lacking = [episode.index for episode in plan.episodes if episode.index not in indices]
        if lacking:
            shown = ", ".join(map(str, lacking[:10])) + (" ..." if len(lacking) > 10 else "")
            found.damage(
                f"episodes/{case.id}.jsonl",
                f"episodes {shown} are missing, but {file} says that the case is done",
            )
            return
    sums = {
        "episodes": len(rows),
        "succeeded": tally(rows).successes,
        "episode_cpu_seconds": round(sum(row["cpu_seconds"] for row in rows), 3),
    }
    for key, value in sums.items():
        if key in record and record[key] != value:
            found.damage(file, f"'{key}' is {record[key]!r}, its journal gives {value!r}")


def _check_scenes(found: Findings, rows_by_case: dict[str, list[Placed]]) -> None:
    """One scene of each (suite, task, init) in all rollouts; of two the rarer one is named."""
    scenes: dict[tuple[str, int, int], str] = {}
    differing = {
        place
        for rows in rows_by_case.values()
        for row, _, _ in rows
        if (scene := row["scene_hash"]) is not None
        and scenes.setdefault(place := (row["suite"], row["task"], row["init"]), scene) != scene
    }
    for place in sorted(differing):
        where: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for rows in rows_by_case.values():
            for row, file, number in rows:
                scene = row["scene_hash"]
                if scene is not None and (row["suite"], row["task"], row["init"]) == place:
                    where[scene].append((file, number))
        most = max(where, key=lambda scene: len(where[scene]))
        first, line = where[most][0]
        suite, task, init = place
        for other, ((file, number), *_) in where.items():
            if other != most:
                found.damage(
                    file,
                    f"line {number}: the scene of {suite} task {task}, init {init} is {other[:12]},"
                    f" but {most[:12]} in {len(where[most])} others, {first} line {line} for one",
                )
