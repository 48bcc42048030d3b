"""The benchmarks of a device: run for real on this CPU, judged by references of a machine's file,
of the published sizes."""

import json
import sys
import tempfile
from pathlib import Path

import pytest

from tests.forked import Forked, run_module

ROOT = Path(__file__).resolve().parents[2]
THROUGHPUT = ROOT / "suites" / "throughput"
MACHINES = ROOT / "bench" / "plan" / "machines"
REFERENCE = """
[references.{name}]
value = {value}
unit = "{unit}"
lower = -0.5
date = "2026-11-23"
commit = "0123abc"
command = "pytest suites/"
"""


def count_parameters() -> None:
    """Print the millions of parameters of models that are laid out and never filled."""
    sys.path.insert(0, str(THROUGHPUT))
    import model_sizes as sizes
    import torch

    with tempfile.TemporaryDirectory() as folder, torch.device("cpu"):
        vlm = sizes.make_vlm(Path(folder) / "vlm", sizes.REAL, ["pick up the milk"])
        arms = {arm: sizes.policy_config(arm, vlm, sizes.REAL, "cpu") for arm in ("E0", "E1", "E2")}
        with torch.device("meta"):
            made = {"E0": sizes.SmolVLAPolicy(arms["E0"])}
            made |= {arm: sizes.SmolVLAWorldPolicy(arms[arm]) for arm in ("E1", "E2")}
            made["encoder"] = sizes.VJEPA2Model(sizes.VJEPA2Config(**sizes.REAL.encoder)).encoder
    print(json.dumps({k: sum(p.numel() for p in m.parameters()) / 1e6 for k, m in made.items()}))


def run(
    tmp_path: Path, selected: str, *flags: str
) -> tuple[int | None, str, dict[str, dict[str, object]]]:
    """pytest's exit code for the device's chosen benchmarks, what it printed, and what
    pytest-benchmark wrote of them, by figure.

    That ``suites/`` finds the file is `tests/bench/run/test_collection.py`'s; all the others would
    be imported for nothing.
    """
    written = tmp_path / "benchmark.json"
    asked = ["--suite=throughput", "-k", selected, "-s", f"--benchmark-json={written}"]
    file = str(THROUGHPUT / "test_device.py")
    child = Forked(run_module("pytest", file, *asked, *flags))
    printed = "".join(child.communicate())
    figures = (
        [each["extra_info"] for each in json.loads(written.read_text())["benchmarks"]]
        if written.exists()
        else []
    )
    return child.returncode, printed, {str(figure["figure"]): figure for figure in figures}


def machine_with(tmp_path: Path, values: dict[str, float], expected_failure: str) -> list[str]:
    """The flags for a machine ``here``, which is this computer with references, in a folder of
    machines of its own."""
    folder = tmp_path / "machines"
    folder.mkdir()
    text = (MACHINES / "cpu.toml").read_text().replace('name = "cpu"', 'name = "here"')
    for name, value in values.items():
        text += REFERENCE.format(
            name=name, value=value, unit="GB/s" if name == "copy" else "TFLOP/s"
        )
    (folder / "here.toml").write_text(
        f'{text}[expected_failures]\n{expected_failure} = "a slow neighbour"\n'
    )
    (tmp_path / "elsewhere.py").write_text(
        "from pathlib import Path\nfrom bench.plan import machine\n"
        "for load in (machine.load_machine, machine.load_performance):\n"
        f"    load.__defaults__ = (Path({str(folder)!r}),)\n"
    )
    return ["--machine=here", "-p", "elsewhere", "-o", f"pythonpath={tmp_path}"]


def test_the_machines_references_decide(tmp_path: Path) -> None:
    """What each judgement is made of is `tests/bench/plan/test_machine_performance.py`'s; here, that it
    decides."""
    judgements = {"gemm_bf16": "pass", "gemm_fp32": "fail", "copy": "expected failure"}
    machine = machine_with(tmp_path, {"gemm_bf16": 1e-6, "gemm_fp32": 1e6, "copy": 1e9}, "copy")
    code, printed, figures = run(tmp_path, "product or copy", *machine)
    assert code == 1, printed
    assert "1 failed, 1 passed" in printed
    assert "1 xfailed" in printed
    assert {name: figure["judgement"] for name, figure in figures.items()} == judgements
    for name, figure in figures.items():
        assert figure["machine"] == "here"
        assert float(str(figure["value"])) > 0
        assert "percent_of_peak" not in figure, "no data sheet says what a CPU of this name can do"
        assert f"here: {judgements[name]}: {name}: " in printed


def test_a_saved_run_decides_too(tmp_path: Path) -> None:
    """By pytest-benchmark's own flags: what was saved is made a thousand times faster than it
    was."""
    storage = f"--benchmark-storage={tmp_path / 'saved'}"
    run(tmp_path, "copy", storage, "--benchmark-save=before")
    (saved,) = tmp_path.glob("saved/*/0001_before.json")
    content = json.loads(saved.read_text())
    for each in content["benchmarks"]:
        each["stats"]["min"] /= 1000
    saved.write_text(json.dumps(content))
    code, printed, figures = run(
        tmp_path, "copy", storage, "--benchmark-compare=0001", "--benchmark-compare-fail=min:50%"
    )
    assert code == 1, printed[-2000:]
    assert "Performance has regressed" in printed
    assert figures["copy"]["judgement"] == "no reference", "the figure itself passed"


def test_a_machine_that_is_not_here_is_refused(tmp_path: Path) -> None:
    code, printed, figures = run(tmp_path, "copy", "--machine=mi300x")
    if "1 passed" in printed:
        pytest.skip("an MI300X is here")
    assert code == 1
    assert "machine 'mi300x' has a rocm GPU, and none was found" in printed
    assert figures == {}


def test_the_sizes_are_the_published_ones() -> None:
    """Parameters of models that are laid out and never filled: SmolVLA about 450 million, V-JEPA 2
    ViT-g 1012 million."""
    child = Forked(count_parameters)
    out, errors = child.communicate(timeout=120)
    assert child.returncode == 0, errors
    counted = json.loads(out.splitlines()[-1])
    assert counted["E0"] == pytest.approx(450, rel=0.01)
    assert counted["encoder"] == pytest.approx(1012, rel=0.001)
    assert counted["E1"] == counted["E2"] > counted["E0"]
