"""The wiring stage, with made-up checks in the place of ``wmvla.wiring``: what passes, what stops
the run, what is an error."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.plan.cases import WIRING
from bench.plan.make import resolve_plan
from bench.run.executor import Executor, failure_path, record_path
from bench.run.stages import prepared, wiring
from bench.run.tripwire import TripwireError
from wmvla.errors import UserError

CHECKS = """
import os, sys, types
from dataclasses import dataclass
from pathlib import Path

@dataclass(frozen=True)
class WiringInputs:
    base: Path
    dataset_root: Path | None
    dataset_repo_id: str
    world: dict
    device: str
    seed: int

class WiringError(RuntimeError):
    pass

def gate(inputs):
    import torch
    print("chatter after which no answer may be looked for")
    return {"threads": torch.get_num_threads(), "base": str(inputs.base), "width": inputs.world["world_latent_dim"]}

def nan(inputs):
    raise WiringError("NaN memory\\nreached an action.")

def toy(inputs):
    raise ValueError("the check itself is wrong")

def latents(inputs):
    from safetensors import SafetensorError
    raise SafetensorError("the file\\nis cut")

def processors(inputs):
    from wmvla.errors import UserError
    raise UserError("config.json: 'x' is wrong;\\ncorrect it")

fake = types.ModuleType("wmvla.wiring")
fake.CHECKS = {"gate": gate, "processors": processors, "latents": latents, "nan": nan, "toy": toy}
fake.WiringInputs, fake.WiringError = WiringInputs, WiringError
sys.modules["wmvla.wiring"] = fake
"""


@pytest.fixture(scope="module")
def checks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A process to fork from, in which the checks are those above."""
    fake = tmp_path_factory.mktemp("fake")
    (fake / "sitecustomize.py").write_text(CHECKS)
    path = os.pathsep.join([str(fake), str(Path(__file__).parents[4])])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path)
        patch.setattr(prepared, "_kept", [])
        yield
        for template in prepared._kept:
            template.kill()


@pytest.fixture
def executor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checks: None) -> Executor:
    """All needs of the checks are done."""
    monkeypatch.setattr(wiring, "base_checkpoint", lambda context: tmp_path / "base")
    monkeypatch.setattr(wiring, "world_fields", lambda context: {"world_latent_dim": 64})
    run_dir = tmp_path / "results" / "run"
    for case in ("demonstrations", "base", "latents"):
        record_path(run_dir, case).parent.mkdir(parents=True, exist_ok=True)
        record_path(run_dir, case).write_text(json.dumps({"case": case, "artefacts": {}}))
    return Executor(resolve_plan("core", "smoke", "cpu"), run_dir)


def test_there_is_a_case_for_every_check() -> None:
    from wmvla.wiring import CHECKS

    assert set(WIRING) == set(CHECKS)


def test_a_check_that_passes_gives_its_figures(executor: Executor, tmp_path: Path) -> None:
    assert executor.ensure("wiring-gate")["figures"] == {
        "threads": 1,
        "base": str(tmp_path / "base"),
        "width": 64,
    }


def test_a_check_that_fails_stops_every_training_in_one_line(executor: Executor) -> None:
    with pytest.raises(TripwireError, match=r"^wiring-nan: NaN memory reached an action\.$"):
        executor.ensure("wiring-nan")
    run_dir = executor.context.run_dir
    for case in ("wiring-gate", "wiring-processors", "wiring-latents"):
        record_path(run_dir, case).write_text(json.dumps({"case": case, "artefacts": {}}))
    with pytest.raises(TripwireError, match="wiring-nan: NaN memory"):
        executor.ensure("E0-train-s0")
    assert not record_path(run_dir, "wiring-nan").exists()
    assert "NaN memory" in json.loads(failure_path(run_dir, "wiring-nan").read_text())["error"]


def test_a_mistake_of_the_user_that_a_check_meets_is_one_line(executor: Executor) -> None:
    with pytest.raises(UserError, match=r"^config\.json: 'x' is wrong; correct it$"):
        executor.ensure("wiring-processors")
    with pytest.raises(UserError, match=r"^the file is cut"):
        executor.ensure("wiring-latents")


def test_a_check_that_cannot_be_made_is_an_error_and_names_its_log(executor: Executor) -> None:
    with pytest.raises(
        RuntimeError,
        match=r"wiring-toy ended without an answer: ValueError: the check itself is wrong \(",
    ) as told:
        executor.ensure("wiring-toy")
    assert not isinstance(told.value, TripwireError)
    assert "Traceback" in (executor.context.run_dir / "logs" / "wiring-toy.log").read_text()
