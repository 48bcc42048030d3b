"""Wiring: what must hold before any training, checked by ``wmvla.wiring`` in its own process."""

import json
import sys
from pathlib import Path
from typing import Any

from bench.plan.cases import Case
from bench.run.stages.context import Context
from bench.run.stages.reason import reason, said
from bench.run.stages.training import base_checkpoint, running_module, world_fields
from bench.run.stages.watched import log_of_attempt, wait_while_alive
from bench.run.tripwire import TripwireError
from wmvla.errors import UserError, library_errors_are_user_errors
from wmvla.files import write_json
from wmvla.watch.guardian import guard
from wmvla.watch.life import life_path
from wmvla.watch.stacks import dump_on_request

MODULE = "bench.run.stages.wiring"


def run(context: Context, case: Case) -> dict[str, Any]:
    """Run the check; figures: its. TripwireError: it failed. UserError: a mistake of the user."""
    job = context.run_dir / "jobs" / f"{case.id}.json"
    outcome = job.with_suffix(".outcome.json")
    outcome.unlink(missing_ok=True)
    inputs = {
        "base": str(base_checkpoint(context)),
        "dataset_root": str(context.dataset_root) if context.dataset_root else None,
        "dataset_repo_id": context.dataset_repo_id,
        "world": world_fields(context),
        "device": context.device,
        "seed": context.plan.seeds[0],
    }
    check_of = {"check": case.id.removeprefix("wiring-"), "outcome": str(outcome.resolve())}
    write_json(job, {**check_of, "inputs": inputs})
    progress, log = context.progress(case.id, 1), context.log_path(case.id)
    with log_of_attempt(log) as output, running_module(context, MODULE, job, output) as child:
        for _ in wait_while_alive(child, case.id, job, log):
            pass
    if not outcome.exists():
        if mistake := said(log, "error: "):
            raise UserError(mistake)
        raise RuntimeError(
            f"{case.id} ended without an answer: {reason(log)} (the whole log: {log})"
        )
    found = json.loads(outcome.read_text())
    if "broken" in found:
        raise TripwireError(f"{case.id}: {found['broken']}")
    progress.update(1)
    return {"artefacts": {}, "figures": found["figures"]}


def check(job: Path) -> None:
    """Run one check in this process; its outcome file says what was measured, or what is broken."""
    import torch

    from wmvla.wiring import CHECKS, WiringError, WiringInputs

    torch.set_num_threads(1)
    asked = json.loads(job.read_text())
    given, root = asked["inputs"], asked["inputs"]["dataset_root"]
    paths = {"base": Path(given["base"]), "dataset_root": Path(root) if root else None}
    outcome: dict[str, Any]
    try:
        outcome = {"figures": CHECKS[asked["check"]](WiringInputs(**{**given, **paths}))}
    except WiringError as error:
        outcome = {"broken": " ".join(str(error).split())}
    write_json(Path(asked["outcome"]), outcome)


if __name__ == "__main__":
    guard(life_path(Path(sys.argv[1])))
    dump_on_request()
    try:
        with library_errors_are_user_errors():
            check(Path(sys.argv[1]))
    except UserError as error:
        sys.exit(f"error: {' '.join(str(error).split())}")
