"""Machine files, and finding out which machine this is."""

from pathlib import Path

import pytest
from synthetic_run import core_plan

from bench.doctor import checks
from bench.forecast.requirements import missing_for
from bench.host import hardware
from bench.plan import machine
from bench.plan.machine import (
    choose_machine,
    detect_machine,
    known_machines,
    load_machine,
    load_performance,
)
from bench.plan.make import make_plan
from bench.plan.suite import load_suite
from tests.damages import permissions_count, unreadable
from wmvla.errors import UserError

GOOD = """
name = "{name}"
accelerator = "cpu"
training_processes = {processes}
rollout_workers = 2
precision = "fp32"
default_scale = "mini"
"""
H100, MI300X = "NVIDIA H100 80GB HBM3", "AMD Instinct MI300X"


def test_the_machines_of_the_issue_are_there() -> None:
    assert {"cpu", "cuda", "rocm", "h100", "h100-8", "mi300x", "mi300x-8"} <= set(known_machines())


@pytest.mark.parametrize("name", known_machines())
def test_every_shipped_machine_loads_and_its_default_scale_exists(name: str) -> None:
    machine = load_machine(name)
    assert machine.default_scale == ("mini" if machine.accelerator == "cpu" else "small")
    assert make_plan(load_suite("core"), None, machine).scale == machine.default_scale
    assert make_plan(load_suite("controls"), None, machine).scale == "mini", (
        "a suite that has no small has its largest"
    )


def test_a_machine_that_may_not_be_read_is_one_line_with_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(GOOD.format(name="mine", processes=1))
    unreadable(file)
    refusal = r"mine\.toml: cannot be read: Permission denied; its owner .* can change that"
    with permissions_count(), pytest.raises(UserError, match=refusal):
        load_machine("mine", tmp_path)


@pytest.mark.parametrize("name", known_machines())
def test_peaks_are_of_named_data_sheets_and_bf16_is_dense(name: str) -> None:
    """A figure with sparsity is twice the dense one; no GPU here reaches 1500 TFLOP/s without."""
    peak = load_performance(name).peak
    assert (peak is not None) == name.startswith(("h100", "mi300x"))
    if peak is not None:
        assert "data sheet" in peak.source
        assert 1 < peak.bandwidth_tb < 10 < peak.fp32_tflops < peak.bf16_tflops < 1500


@pytest.mark.parametrize("kind", ["h100", "mi300x"])
def test_eight_are_as_one_but_for_their_number(kind: str) -> None:
    one, eight = load_machine(kind), load_machine(f"{kind}-8")
    assert (one.training_processes, eight.training_processes) == (1, 8)
    assert (one.accelerator, one.precision) == (eight.accelerator, eight.precision)
    assert load_performance(kind) == load_performance(f"{kind}-8")


@pytest.mark.parametrize(("node", "nodes"), [("mi300x-8", "mi300x-8-x2"), ("cpu", "cpu-x2")])
def test_two_nodes_are_as_one_but_for_their_number(node: str, nodes: str) -> None:
    one, two = load_machine(node), load_machine(nodes)
    assert (two.nodes, two.accelerator, two.precision) == (2, one.accelerator, one.precision)
    assert load_performance(node) == load_performance(nodes)
    assert load_machine("mi300x-8-x2").processes_per_node == 8


def test_detection_agrees_with_torch() -> None:
    torch = pytest.importorskip("torch")
    expected = "cpu" if not torch.cuda.is_available() else ("rocm" if torch.version.hip else "cuda")
    assert load_machine(detect_machine()).accelerator == expected


@pytest.mark.parametrize(
    ("accelerator", "devices", "expected"),
    [
        ("cuda", [H100], "h100"),
        ("cuda", [H100] * 7, "h100"),
        ("cuda", [H100] * 8, "h100-8"),
        ("cuda", ["NVIDIA H100 PCIe"], "cuda"),
        ("cuda", [H100, "NVIDIA A100-SXM4-80GB"], "cuda"),
        ("cuda", ["NVIDIA A100-SXM4-80GB"] * 8, "cuda"),
        ("rocm", [MI300X], "mi300x"),
        ("rocm", [f"{MI300X} VF"], "mi300x"),
        ("rocm", [MI300X] * 8, "mi300x-8"),
        ("rocm", [MI300X] * 16, "mi300x-8"),
        ("rocm", ["AMD Instinct MI250X"], "rocm"),
        ("rocm", [H100], "rocm"),
    ],
)
def test_the_machine_is_chosen_by_the_names_of_its_gpus(
    accelerator: str, devices: list[str], expected: str
) -> None:
    assert choose_machine(accelerator, devices) == expected


@pytest.mark.parametrize(
    ("node", "hip", "expected"), [("kfd", "7.2", "mi300x"), ("nothing", "7.2", "cpu")]
)
def test_torch_is_asked_where_there_is_a_device_node(
    monkeypatch: pytest.MonkeyPatch, node: str, hip: str, expected: str
) -> None:
    devices = [{"name": MI300X, "memory_bytes": 192 * 2**30}]
    monkeypatch.setattr(
        machine, "_GPU_DEVICE_NODES", ("null" if node == "kfd" else "no-such-node",)
    )
    monkeypatch.setattr(
        hardware, "torch_build", lambda: {"hip": hip, "cuda": None, "devices": devices}
    )
    assert detect_machine() == expected


def test_a_gpu_without_a_torch_that_could_be_asked_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken() -> None:
        raise RuntimeError("libtorch.so: cannot open")

    monkeypatch.setattr(machine, "_GPU_DEVICE_NODES", ("null",))
    monkeypatch.setattr(hardware, "torch_build", broken)
    monkeypatch.setattr(
        checks, "all_reduce", lambda gpus: checks.Finding("all-reduce", f"{gpus} GPUs")
    )
    with pytest.raises(
        UserError,
        match=(
            r"cannot be asked about it \(libtorch.so: cannot open\); fix torch, or give"
            r" --machine=cpu"
        ),
    ):
        detect_machine()
    found = checks.examine_host()
    assert (all(finding.ok for finding in found), found[-1].found) == (True, "0 GPUs"), (
        "the host is looked at all the same"
    )
    assert missing_for(core_plan("mini")) == []


def test_unknown_machine_lists_the_known() -> None:
    with pytest.raises(UserError, match="unknown machine 'h200'; did you mean 'h100'"):
        load_machine("h200")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD.format(name="b", processes=1), "'name' is 'b' but the file is 'a.toml'"),
        (GOOD.format(name="a", processes=0), "'training_processes' must be at least 1, not 0"),
        (
            GOOD.format(name="a", processes=1).replace("workers = 2", "workers = -1"),
            "'rollout_workers' must be at least 0",
        ),
        (GOOD.format(name="a", processes=1) + "worker = 3", "unknown key 'worker'"),
        (GOOD.format(name="a", processes=1).replace("fp32", "fp8"), "'precision' is 'fp8'"),
        (
            GOOD.format(name="a", processes=1) + "accumulation_steps = 0",
            "'accumulation_steps' must be at least 1",
        ),
        (GOOD.format(name="a", processes=1) + "nodes = 0", "'nodes' must be at least 1, not 0"),
        (
            GOOD.format(name="a", processes=3) + "nodes = 2",
            "'training_processes' is 3, for all nodes together, but not a multiple of 'nodes' = 2",
        ),
        (
            GOOD.format(name="a", processes=1) + "strategy = 'zero2'",
            "splits the policy over several processes, but there is only one; use 'ddp'",
        ),
        (
            GOOD.format(name="a", processes=2) + "strategy = 'zero'",
            "'strategy' is 'zero'; did you mean",
        ),
        (
            GOOD.format(name="a", processes=1) + "device = '('",
            "'device' is not a regular expression",
        ),
        (
            GOOD.format(name="a", processes=1) + "[peak]\nbf16_tflops = 1",
            "missing key 'peak.source'",
        ),
    ],
)
def test_bad_machine_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(UserError, match=message):
        load_machine("a", tmp_path)
