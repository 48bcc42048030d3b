"""What a plan needs and this machine lacks is named exactly, from local folders alone."""

import dataclasses
import socket
from pathlib import Path

import pytest
from synthetic_run import core_plan

from bench.forecast import requirements
from bench.forecast.requirements import missing_for, require
from bench.plan.document import Plan
from bench.plan.machine import load_machine
from bench.plan.make import make_plan
from bench.plan.suite import load_suite
from wmvla.errors import UserError


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a look at local folders must not use the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_LEROBOT_HOME", raising=False)
    return tmp_path / "hub"


def full_on(machine: str, arms: tuple[str, ...] | None = None) -> Plan:
    return dataclasses.replace(core_plan("full", arms=arms), machine=load_machine(machine))


def found(monkeypatch: pytest.MonkeyPatch, accelerator: str, gpus: int) -> None:
    """As if this computer had so many GPUs of a kind that no machine's file names."""
    devices = [{"name": "some GPU", "memory_bytes": 2**36}] * gpus
    monkeypatch.setattr(requirements, "detect_accelerator", lambda: accelerator)
    monkeypatch.setattr(requirements, "detect_machine", lambda: accelerator)
    monkeypatch.setattr(requirements.hardware, "torch_build", lambda: {"devices": devices})


@pytest.mark.parametrize("scale", ["smoke", "mini", "small"])
def test_the_smaller_scales_need_nothing(hub: Path, scale: str) -> None:
    assert missing_for(core_plan(scale)) == []
    require(core_plan(scale))


def test_full_scale_on_a_bare_machine(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found(monkeypatch, "cpu", 0)
    missing = missing_for(core_plan("full"))
    assert missing == [
        "a GPU is needed, and machine 'cpu' has none (none was found)",
        (
            "dataset HuggingFaceVLA/libero is not here (hf download HuggingFaceVLA/libero"
            " --repo-type dataset)"
        ),
        (
            "checkpoint HuggingFaceVLA/smolvla_libero is not here (hf download"
            " HuggingFaceVLA/smolvla_libero)"
        ),
        (
            "vision-language model the one that config.json of HuggingFaceVLA/smolvla_libero "
            "names is not here (its name is known when that file is here)"
        ),
        (
            "world encoder facebook/vjepa2-vitg-fpc64-256 is not here (hf download"
            " facebook/vjepa2-vitg-fpc64-256)"
        ),
    ]
    with pytest.raises(
        UserError, match=r"scale 'full' cannot run here: a GPU is needed"
    ) as refused:
        require(core_plan("full"))
    assert "\n" not in str(refused.value)
    assert str(refused.value).endswith(
        "; file by file: wmbench plan core --scale=full --machine=cpu --offline"
    )


def test_a_gpu_that_is_there_but_not_chosen_is_named(
    monkeypatch: pytest.MonkeyPatch, hub: Path
) -> None:
    found(monkeypatch, "rocm", 1)
    assert "(MACHINE=rocm was found)" in missing_for(core_plan("full"))[0]
    assert missing_for(full_on("cuda"))[0] == "machine 'cuda' has a cuda GPU, and none was found"
    assert not [sentence for sentence in missing_for(full_on("rocm")) if "GPU" in sentence]


def test_a_gpu_machine_without_its_gpu_runs_no_scale(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found(monkeypatch, "cpu", 0)
    plan = make_plan(load_suite("core"), "mini", load_machine("cuda"))
    assert missing_for(plan) == ["machine 'cuda' has a cuda GPU, and none was found"]


def test_every_gpu_that_trains_must_be_visible(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan(load_suite("core"), "mini", load_machine("h100-8"))
    found(monkeypatch, "cuda", 1)
    assert missing_for(plan) == ["machine 'h100-8' trains on 8 GPUs; visible: 1"]
    found(monkeypatch, "cuda", 8)
    assert missing_for(plan) == []


def test_folders_stand_for_hub_names(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found(monkeypatch, "cuda", 1)
    encoder = tmp_path / "my encoder"
    encoder.mkdir()
    plan = full_on("cuda")
    world = dataclasses.replace(plan.recipe.world, encoder=str(encoder))
    plan = dataclasses.replace(plan, recipe=dataclasses.replace(plan.recipe, world=world))
    assert [sentence for sentence in missing_for(plan) if "encoder" in sentence]
    for name in ("config.json", "model.safetensors", "video_preprocessor_config.json"):
        (encoder / name).write_text("{}")
    assert not [sentence for sentence in missing_for(plan) if "encoder" in sentence]


def test_the_baseline_alone_needs_no_encoder(hub: Path) -> None:
    assert not [
        sentence for sentence in missing_for(full_on("cuda", arms=("E0",))) if "encoder" in sentence
    ]


@pytest.mark.parametrize(
    ("machine", "cases", "gpus", "missing"),
    [
        ("h100-8", (), 7, "trains on 8 GPUs; visible: 7"),
        ("h100-8", ("E0-train-s0",), 1, "trains on 8 GPUs; visible: 1"),
        ("h100-8", ("E2-pred-s0",), 1, None),
        ("mi300x-8-x2", ("E0-train-s0",), 7, "trains on 8 GPUs of each node; visible: 7"),
        ("mi300x-8-x2", ("E0-train-s0",), 8, None),
    ],
)
def test_a_rollout_needs_one_gpu_and_a_training_those_of_a_node(
    monkeypatch: pytest.MonkeyPatch,
    machine: str,
    cases: tuple[str, ...],
    gpus: int,
    missing: str | None,
) -> None:
    plan = dataclasses.replace(core_plan("smoke"), machine=load_machine(machine))
    found(monkeypatch, plan.machine.accelerator, gpus)
    told = missing_for(plan, cases)
    assert (told == []) if missing is None else (missing in told[0])
