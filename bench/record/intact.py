"""What is checked of a run's files before a number of theirs is believed: form and recorded sums.
`wmbench verify` asks more and names everything; here the first fault ends the reading."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.formats.checksums import is_intact, sha256_of
from bench.formats.one_line import one_line
from bench.plan.cases import Case
from bench.record.forms import CaseRecord, problems
from wmvla.errors import UserError

Record = Mapping[str, Any]


def require_form(path: Path, document: Record | None, form: Any) -> None:
    """UserError where a document does not have its form; None passes."""
    problem = next(problems(form, document), None) if document is not None else None
    if problem:
        raise UserError(f"{path}: {one_line(problem)}; restore the file")


def require_record(path: Path, record: Record | None, case: Case) -> None:
    """UserError where a record is damaged, or is another case's; None passes."""
    require_form(path, record, CaseRecord)
    if record is not None and (record["case"], record["kind"]) != (case.id, case.kind):
        raise UserError(
            f"{path}: is the record of '{one_line(record['case'])}', a {record['kind']} case;"
            " restore the file"
        )


def require_unchanged(
    run_dir: Path, records: Mapping[str, Record], episodes: Mapping[str, int]
) -> None:
    """UserError if a file changed after its case ended; records without sums are believed.

    ``episodes``: how many each rollout has in its journals. Non-obvious: a journal that lacks some
    is not compared. Its line may have been removed to be played again, and whoever reads it says
    that episodes are missing.
    """
    known: dict[str, str | None] = {}
    for case_id, record in records.items():
        if "sums" not in record:
            continue
        file = run_dir / "cases" / f"{case_id}.json"
        if not is_intact(record):
            raise UserError(
                f"{file}: changed after it was written; restore it, or remove it and give the run's"
                " command again"
            )
        too_few = episodes.get(case_id, math.inf) < record.get("episodes", 0)
        for name, expected in record["sums"]["files"].items():
            if name.startswith("checkpoints/") or too_few:
                continue
            if name not in known:
                known[name] = sha256_of(run_dir / name) if (run_dir / name).is_file() else None
            if known[name] != expected:
                what = "is missing" if known[name] is None else f"changed after {case_id} ended"
                raise UserError(
                    f"{run_dir / name}: {what}; restore it, or remove {file} and give the run's"
                    " command again"
                )
