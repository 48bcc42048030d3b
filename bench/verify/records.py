"""Whether a finished case's record says what its metrics, or the lines of its replay, say."""

from collections import defaultdict
from typing import Any

from bench.plan.cases import Case
from bench.plan.document import Plan
from bench.record.forms import CaseRecord, Replayed, Step, problems
from bench.record.replay_summary import summary
from bench.verify.damage import Findings
from bench.verify.journals import read_lines

Records = dict[str, dict[str, Any]]


def read_records(found: Findings, plan: Plan) -> Records:
    """The records of the plan's cases that have their form; other files are damages."""
    records: Records = {}
    ids = {f"{case.id}.json": case for case in plan.cases}
    for file, _, case in found.files("cases", ".json", ids, "the record of a case"):
        record = found.read(file)
        if record is None:
            continue
        wrong = list(problems(CaseRecord, record))
        if not wrong and (record["case"], record["kind"]) != (case.id, case.kind):
            wrong = [
                f"'case' is {record['case']!r} of kind {record['kind']!r}, the plan has {case.id}"
                f" of kind {case.kind}"
            ]
        for problem in wrong:
            found.damage(file, problem)
        if not wrong:
            records[case.id] = record
    found.checked.append(f"{len(records)} records of {len(plan.cases)} cases")
    return records


def check_images(found: Findings, provenance: dict[str, Any], records: Records) -> None:
    """Note which cases were carried out in another container's image than the run began in.
    Non-obvious: no damage. A run may be continued in a later image; older records name none."""
    if "image_digest" not in provenance:
        return
    began, others = _image(provenance["image_digest"]), defaultdict(list)
    for case_id, record in records.items():
        if "image_digest" in record and _image(record["image_digest"]) != began:
            others[_image(record["image_digest"])].append(case_id)
    for image, cases in others.items():
        found.notes.append(
            f"the run began in {began}, but {', '.join(cases)} {'is' if len(cases) == 1 else 'are'}"
            f" of {image}"
        )


def _image(digest: object) -> str:
    """Non-obvious: shortened as other sums are here; what is no digest counts as none."""
    return f"image {digest[:19]}..." if isinstance(digest, str) else "no image"


def check_trainings(found: Findings, plan: Plan, records: Records) -> None:
    """Every line of every metrics file; of a training that is done its last line too."""
    number = 0
    trainings = {f"{case.id}.jsonl": case for case in plan.cases if case.kind == "train"}
    for file, path, case in found.files(
        "metrics", ".jsonl", trainings, "the metrics of a training"
    ):
        record = records.get(case.id)
        lines = read_lines(found, file, path, Step, done=record is not None)
        number += len(lines)
        _check_order(found, file, lines, plan)
        if record is not None and lines:
            _check_end(found, plan, case, record, lines[-1][1])
    for case in trainings.values():
        file = f"metrics/{case.id}.jsonl"
        if "steps" in records.get(case.id, {}) and not (found.run_dir / file).exists():
            found.damage(file, f"missing, but cases/{case.id}.json says that the training is done")
    found.checked.append(f"{number} logged steps")


def _check_order(found: Findings, file: str, lines: list[tuple[int, Any]], plan: Plan) -> None:
    before, training = 0, plan.recipe.training
    for number, line in lines:
        step = line["step"]
        if not before < step <= training.steps:
            what = f"'step' is {step}, after {before} and of {training.steps} planned"
            found.damage(file, f"line {number}: {what}")
        elif "samples" in line and line["samples"] != step * training.batch_size:
            found.damage(file, f"line {number}: 'samples' is {line['samples']} at step {step}")
        before = max(before, step)


def _check_end(
    found: Findings, plan: Plan, case: Case, record: dict[str, Any], last: dict[str, Any]
) -> None:
    file, planned = f"cases/{case.id}.json", plan.recipe.training.steps
    if "steps" in record and record["steps"] != planned:
        found.damage(file, f"'steps' is {record['steps']!r}, the plan says {planned}")
    if "last" in record and record["last"] != last:
        named = record["last"]
        keys = sorted(key for key in {*named, *last} if named.get(key) != last.get(key))
        where = f"the last line of metrics/{case.id}.jsonl"
        found.damage(file, f"'last': differs from {where} in {', '.join(keys)}")


def check_replays(found: Findings, plan: Plan, records: Records) -> None:
    """The figures of every replay again from its lines."""
    replays = {f"{case.id}.jsonl": case.id for case in plan.cases if case.kind == "replay"}
    number = 0
    for file, path, case_id in found.files("replays", ".jsonl", replays, "the replay of a case"):
        lines = read_lines(found, file, path, Replayed, done=case_id in records)
        number += len(lines)
        if case_id in records and lines and file not in found.damaged([file]):
            _check_summary(found, file, records[case_id], [line for _, line in lines])
    if number:
        found.checked.append(f"{number} replayed demonstrations")


def _check_summary(
    found: Findings, file: str, record: dict[str, Any], lines: list[dict[str, Any]]
) -> None:
    keys = ("valid", "cosine", "mean_delta_cosine")
    shapes = {(*(len(line[key]) for key in keys), *line["action_error"]) for line in lines}
    if len(shapes) > 1 or len(set(next(iter(shapes))[:3])) > 1:
        found.damage(file, "its lines do not have the same shape")
        return
    for key, value in summary(lines).items():
        if record.get(key) != value:
            found.damage(f"cases/{record['case']}.json", f"'{key}' is not what {file} gives")
