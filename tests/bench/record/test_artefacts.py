"""Hashes of what a run made and used, from its records."""

import json
from pathlib import Path

import jsonschema
from synthetic_run import REALISTIC, core_plan, drawn_outcomes, write_run

from bench.formats.checksums import sha256_of, signed, sums_of
from bench.record.artefacts import made
from bench.report.write import write_report

SCHEMA = json.loads(
    (Path(__file__).parents[3] / "bench" / "formats" / "schemas" / "report.schema.json").read_text()
)
A, B, C = "a" * 64, "b" * 64, "c" * 64
LATENTS = {
    "artefacts": {"latents": "cache/d/latents.npy"},
    "sums": {"files": {"plan.json": C}, "outside": {"latents": A}},
}
TRAINING = {
    "artefacts": {
        "checkpoint": "results/run/checkpoints/E0-train-s0/000600",
        "metrics": "results/run/metrics/E0-train-s0.jsonl",
    },
    "sums": {
        "files": {
            "plan.json": C,
            "metrics/E0-train-s0.jsonl": C,
            "checkpoints/E0-train-s0/000600": B,
        },
        "outside": {},
    },
}


def test_datasets_latents_and_checkpoints_are_named() -> None:
    assert made({"latents": LATENTS, "E0-train-s0": TRAINING}) == [
        {"case": "latents", "what": "cache/d/latents.npy", "sha256": A},
        {"case": "E0-train-s0", "what": "checkpoints/E0-train-s0/000600", "sha256": B},
    ]


def test_a_record_without_sums_names_nothing() -> None:
    assert (
        made(
            {
                "base": {"artefacts": {"checkpoint": "x"}},
                "latents": {"sums": None},
                "train": {"sums": {"files": 7}},
            }
        )
        == []
    )


def test_they_stand_in_the_report(tmp_path: Path) -> None:
    plan = core_plan("mini")
    run = write_run(tmp_path / "run", plan, drawn_outcomes(plan, REALISTIC))
    assert "made" not in json.loads(write_report(run).with_suffix(".json").read_text())
    checkpoint, path = (
        run / "checkpoints" / "E0-train-s0" / "000600",
        run / "cases" / "E0-train-s0.json",
    )
    checkpoint.mkdir(parents=True)
    (checkpoint / "model.safetensors").write_bytes(b"weights")
    artefacts = {"checkpoint": checkpoint, "metrics": run / "metrics" / "E0-train-s0.jsonl"}
    record = json.loads(path.read_text()) | {"artefacts": {}, "sums": sums_of(run, artefacts, ())}
    path.write_text(json.dumps(signed(record)))
    report = write_report(run)
    jsonschema.validate(json.loads(report.with_suffix(".json").read_text()), SCHEMA)
    assert f"<code>{sha256_of(checkpoint)}</code>" in report.read_text()
