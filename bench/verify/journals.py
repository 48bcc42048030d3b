"""Row by row: whether each journal is the plan's episode table, every episode once, every scene the
same in all arms."""

from collections import defaultdict
from pathlib import Path
from typing import Any

from bench.formats.strict_json import NotStrictError, parse
from bench.plan.cases import Case
from bench.plan.document import Plan
from bench.record.forms import problems
from bench.record.journal import journal_path
from bench.verify.damage import Findings
from wmvla.rollout.journal import Row, journal_files
from wmvla.rollout.tally import tally

PLANNED = ("suite", "task", "init", "env_seed", "noise_seed", "repeat")
"""What a row repeats of the episode table."""


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
        file
        for case in plan.rollout_cases()
        for file in journal_files(journal_path(found.run_dir, case.id))
    }
    for path in sorted((found.run_dir / "episodes").glob("*")):
        if path not in known and not path.name.startswith("."):
            found.damage(f"episodes/{path.name}", "the journal of no rollout of the plan")
    number = sum(map(len, rows_by_case.values()))
    found.checked.append(
        f"{number} episodes of {len(rows_by_case)} rollouts against the episode table"
    )
    return {
        case: [row for row, _ in sorted(rows, key=lambda pair: pair[0]["index"])]
        for case, rows in rows_by_case.items()
    }


def _check_case(
    found: Findings, plan: Plan, case: Case, record: dict[str, Any] | None
) -> list[tuple[Row, str]]:
    """The good rows of a case, each with its place."""
    rows: list[tuple[Row, str]] = []
    places: dict[int, str] = {}
    for path in journal_files(journal_path(found.run_dir, case.id)):
        file = f"episodes/{path.name}"
        for number, row in read_lines(found, file, path, Row, done=record is not None):
            problem = _alien(plan, case, row)
            if problem:
                found.damage(file, f"line {number}: {problem}")
                continue
            place = f"{file} line {number}"
            first = places.setdefault(row["index"], place)
            if first != place:
                found.damage(
                    file, f"line {number}: episode {row['index']} stands already in {first}"
                )
                continue
            rows.append((row, place))
    if record is not None:
        _check_record(found, plan, case, record, [row for row, _ in rows])
    return rows


def read_lines(
    found: Findings, file: str, path: Path, form: Any, done: bool
) -> list[tuple[int, Any]]:
    """The lines of a file that are JSON and have a form, with their numbers; the others are
    damages.

    A last line without its newline is one that is being written, or that a killed run left: a
    damage where the case is done.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        found.damage(file, f"cannot be read: {error.strerror}")
        return []
    lines = text.split(b"\n")
    if lines.pop():
        number = len(lines) + 1
        if done:
            found.damage(file, f"line {number}: cut off, it has no end")
        else:
            found.notes.append(f"{file}: line {number} is half written; it does not count")
    good = []
    for number, line in enumerate(lines, start=1):
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
    for key in PLANNED:
        if row[key] != getattr(planned, key):
            return (
                f"'{key}' is {row[key]!r}, the plan says {getattr(planned, key)!r} of episode"
                f" {row['index']}"
            )
    if row["success"] and row["status"] != "ok":
        return f"'success' is true, and 'status' is {row['status']!r}"
    if row["steps"] > plan.recipe.environment.max_steps:
        return (
            f"'steps' is {row['steps']}, an episode has at most {plan.recipe.environment.max_steps}"
        )
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
            told = ", ".join(map(str, lacking[:10])) + (" ..." if len(lacking) > 10 else "")
            found.damage(
                f"episodes/{case.id}.jsonl",
                f"episodes {told} are missing, and {file} says that the case is done",
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


def _check_scenes(found: Findings, rows_by_case: dict[str, list[tuple[Row, str]]]) -> None:
    """One scene of each (suite, task, init) in all rollouts; where two differ, the one that fewer
    rows have is named."""
    places: dict[tuple[str, int, int], dict[str, list[str]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for rows in rows_by_case.values():
        for row, place in rows:
            if row["scene_hash"] is not None:
                places[row["suite"], row["task"], row["init"]][row["scene_hash"]].append(place)
    for (suite, task, init), scenes in places.items():
        most = max(scenes, key=lambda scene: len(scenes[scene]))
        for scene, where in scenes.items():
            if scene != most:
                file, _, line = where[0].partition(" ")
                others = f"{most[:12]} in {len(scenes[most])} others, {scenes[most][0]} for one"
                found.damage(
                    file,
                    f"{line}: the scene of {suite} task {task}, init {init} is {scene[:12]}, but"
                    f" {others}",
                )
