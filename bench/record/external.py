"""Success that others measured: published tables, and LeRobot's own evaluation; as context.

Nobody can verify it here: there are no scene hashes and no noise seeds, so its episodes are
nobody's pairs, and it enters no verdict. The files are JSON
(``bench/formats/schemas/external.schema.json``).
"""

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from wmvla.documents import build
from wmvla.errors import UserError
from wmvla.files import write_json
from wmvla.ranges import Name, Natural, Several, Sha256

EXTERNAL_VERSION: Literal[1] = 1
Episodes = Annotated[int, Meta(ge=1, le=10**9)]
Sentence = Annotated[str, Meta(pattern=r"\.$", extra={"says": "a sentence, which ends in a stop"})]
FOLDER = "imported"
"""Of external results, in a run directory and in the folder of run directories."""
PUBLISHED = Path(__file__).parent / "published"
"""The published tables: part of the code, so that every report shows them."""


@dataclass(frozen=True)
class TaskCount:
    """What one task gave."""

    task: Natural
    episodes: Episodes
    successes: Natural


@dataclass(frozen=True)
class Table:
    """Success of one rollout in some tasks of one suite."""

    rollout: str
    """The rollout of ours that it is compared with: ``E0-none``."""
    label: str
    suite: str
    tasks: Several[Natural]
    episodes: Episodes
    """In all of those tasks together."""
    successes: Natural
    by_task: tuple[TaskCount, ...] = ()
    """Empty where only the total is known."""
    not_played: Natural = 0
    """Episodes with an error or a timeout: in none of these numbers."""
    note: str = ""


@dataclass(frozen=True)
class Figure:
    """Another number of the same source."""

    name: str
    value: float


@dataclass(frozen=True)
class External:
    """Success that others measured: a published table, or an imported eval_info.json."""

    version: Literal[1]
    kind: Literal["published", "lerobot"]
    name: Name
    source: Name
    """Who measured it, and where it is published."""
    flaws: Several[Sentence]
    """What is known to be wrong or not known at all; whole sentences."""
    tables: Several[Table]
    figures: tuple[Figure, ...] = ()
    file_sha256: Sha256 | None = None
    """Of the file that was imported."""

    def to_json(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return content


def load_external(path: Path) -> External:
    """The external result in a file. UserError if there is none, or its numbers cannot be."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise UserError(f"{path}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(content, dict) or "tables" not in content:
        raise UserError(
            f"{path}: not an imported result (it has no 'tables'); wmbench import makes one from "
            "an eval_info.json"
        )
    if content.get("version") != EXTERNAL_VERSION:
        raise UserError(
            f"{path}: 'version' is {content.get('version')!r}, this program reads"
            f" {EXTERNAL_VERSION}"
        )
    return external_from(content, str(path))


def count_faults(external: External) -> Iterator[str]:
    """Counts that cannot be, which no type says."""
    for i, table in enumerate(external.tables):
        key, counts = f"tables[{i}]", table.by_task
        named: list[tuple[str, Table | TaskCount]] = [(key, table)]
        named += [(f"{key}.by_task[{j}]", count) for j, count in enumerate(counts)]
        for where, one in named:
            if one.successes > one.episodes:
                yield f"'{where}' has {one.successes} successes of {one.episodes} episodes"
        if len(set(table.tasks)) < len(table.tasks):
            yield f"'{key}.tasks' has one task twice; it is {list(table.tasks)}"
        if not counts:
            continue
        if sorted(count.task for count in counts) != sorted(table.tasks):
            yield f"'{key}.by_task' must name the tasks of '{key}.tasks', each once"
        episodes, successes = sum(c.episodes for c in counts), sum(c.successes for c in counts)
        if (episodes, successes) != (table.episodes, table.successes):
            yield (
                f"'{key}' has {table.successes} successes of {table.episodes}, its tasks add up to"
                f" {successes} of {episodes}"
            )


def external_from(content: object, file: str) -> External:
    """The external result in a document. UserError for what is none, and for impossible counts."""
    external = build(External, content, file)
    if fault := next(count_faults(external), None):
        raise UserError(f"{file}: {fault}")
    return external


def write_external(external: External, path: Path) -> None:
    """Write it; an equal one is left as it is. UserError where another lies there."""
    if path.exists() and load_external(path) != external:
        raise UserError(
            f"{path}: another result has this name; give another --as, or remove the file"
        )
    write_json(path, external.to_json())


def read_externals(folder: Path) -> tuple[External, ...]:
    """All external results of a folder, by name of their file. UserError for a damaged one."""
    return tuple(load_external(path) for path in sorted(folder.glob("[!.]*.json")))
