"""A made-up finished run whose records have their sums, and whose report and manifest are written:
small, and real in form."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from synthetic_run import REALISTIC, core_plan, drawn_outcomes, write_run

from bench.formats.checksums import signed, sums_of
from bench.plan.cases import Case
from bench.plan.document import Plan
from bench.record.journal import journal_path
from bench.record.replay_summary import summary
from bench.report.write import write_report
from bench.run.stages.replay import replay_path
from bench.verify.manifest import write_manifest
from bench.verify.verify import verify
from wmvla.rollout.journal import journal_files, read_all

JOURNAL = "episodes/E2-pred-s0.jsonl"
"""Of a rollout that claims speak of."""


def small_plan(**overrides: Any) -> Plan:
    """The core suite at mini scale, shortened: it concludes, and has everything that a run has."""
    return core_plan("mini", **{"episodes": 6, "steps": 12, **overrides})


def finish(run_dir: Path, plan: Plan) -> Path:
    """Give the records of a made-up run the figures and sums that the executor gives; checkpoints
    are a few bytes."""
    for case in plan.cases:
        path = run_dir / "cases" / f"{case.id}.json"
        record = json.loads(path.read_text())
        figures, artefacts = _made(run_dir, case)
        sums = sums_of(run_dir, artefacts, case.needs)
        named = {
            name: f"results/{run_dir.name}/{file.relative_to(run_dir)}"
            for name, file in artefacts.items()
        }
        path.write_text(
            json.dumps(signed({**record, **figures, "artefacts": named, "sums": sums}), indent=1)
            + "\n"
        )
    return run_dir


def _made(run_dir: Path, case: Case) -> tuple[dict[str, Any], dict[str, Path]]:
    """Figures and artefacts of a case."""
    if case.kind == "train":
        metrics = run_dir / "metrics" / f"{case.id}.jsonl"
        last = json.loads(metrics.read_text().splitlines()[-1])
        checkpoint = run_dir / "checkpoints" / case.id / f"{last['step']:06d}" / "pretrained_model"
        checkpoint.mkdir(parents=True)
        (checkpoint / "model.safetensors").write_bytes(case.id.encode() * 40)
        (checkpoint / "config.json").write_text("{}\n")
        return {"steps": last["step"], "last": last}, {"checkpoint": checkpoint, "metrics": metrics}
    if case.kind == "rollout":
        rows = read_all(journal_path(run_dir, case.id))
        figures = {
            "episodes": len(rows),
            "succeeded": sum(row["success"] for row in rows),
            "episode_cpu_seconds": round(sum(row["cpu_seconds"] for row in rows), 3),
            "played": len(rows),
            "rollout_workers": 2,
        }
        return figures, {path.name: path for path in journal_files(journal_path(run_dir, case.id))}
    if case.kind == "replay":
        lines = [_demonstration(case.id, number) for number in range(3)]
        path = replay_path(run_dir, case.id)
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        return summary(lines), {"replay": path}
    return {}, {}


def _demonstration(case_id: str, number: int) -> dict[str, Any]:
    spread = (len(case_id) + number) / 100
    return {
        "episode": number,
        "frames": 120,
        "valid": [119 - k for k in range(8)],
        "cosine": [0.3 + 0.05 * k + spread for k in range(8)],
        "mean_delta_cosine": [0.1 + 0.01 * k + spread for k in range(8)],
        "queries": 15,
        "actions": 1470,
        "action_error": dict.fromkeys(("pred", "zero", "random", "hold", "oracle"), 0.2 + spread),
    }


def unsealed_run(run_dir: Path, plan: Plan | None = None) -> Path:
    """A finished run without report and manifest."""
    plan = plan or small_plan()
    return finish(write_run(run_dir, plan, drawn_outcomes(plan, REALISTIC)), plan)


def sealed_run(run_dir: Path, plan: Plan | None = None) -> Path:
    """A finished run, its report written and sealed."""
    unsealed_run(run_dir, plan)
    logs = run_dir / "logs"
    logs.mkdir()
    (logs / "E0-train-s0.log").write_text("made-up log\n")
    write_report(run_dir)
    assert write_manifest(run_dir, ran=True)
    return run_dir


def told(run_dir: Path) -> list[str]:
    return [str(damage) for damage in verify(run_dir).damages]


def edit(path: Path, change: Callable[[Any], object]) -> None:
    """Change a JSON document as somebody does who signs it again."""
    document = json.loads(path.read_text())
    change(document)
    path.write_text(
        json.dumps(signed(document) if "sha256" in document else document, indent=1) + "\n"
    )


def edit_line(path: Path, number: int, **values: Any) -> None:
    lines = path.read_text().splitlines()
    lines[number - 1] = json.dumps({**json.loads(lines[number - 1]), **values})
    path.write_text("\n".join(lines) + "\n")
