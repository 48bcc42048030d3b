"""Writes the JSON Schemas in ``bench/formats/schemas``: python -m bench.verify.schemas."""

import json
from pathlib import Path
from typing import Any

import bench.formats
from bench.formats.json_schema import json_schema
from bench.plan.document import Plan
from bench.record.controls import Controls
from bench.record.external import External
from bench.record.forms import CaseRecord, Manifest, Provenance, Replayed, Step
from wmvla.ranges import Sha256
from wmvla.rollout.journal import Row

FOLDER = Path(bench.formats.__file__).parent / "schemas"
OF: dict[str, type] = {
    "plan": Plan,
    "episode": Row,
    "metrics": Step,
    "record": CaseRecord,
    "replay": Replayed,
    "provenance": Provenance,
    "manifest": Manifest,
    "controls": Controls,
    "external": External,
}


def schemas() -> dict[str, dict[str, Any]]:
    more: dict[type, dict[str, Any]] = {Plan: {"hash": Sha256}}
    return {name: json_schema(cls, **more.get(cls, {})) for name, cls in OF.items()}


def as_text(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for name, schema in schemas().items():
        (FOLDER / f"{name}.schema.json").write_text(as_text(schema), encoding="utf-8")
