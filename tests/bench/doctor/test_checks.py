"""Doctor looks at the real machine; what is missing is made missing by taking it away from the
probe."""

import json
import os
import shutil
import stat
from pathlib import Path

import pytest

from bench.doctor import checks
from bench.host import hardware
from bench.host.folders import CODE as ROOT

NAMES = {
    "python",
    "packages",
    "torch",
    "accelerator",
    "renderer",
    "mujoco",
    "libero",
    "memory",
    "cores",
}


def by_name(findings: list[checks.Finding]) -> dict[str, checks.Finding]:
    return {finding.name: finding for finding in findings}


def test_this_machine_has_what_a_run_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert checks.main(["--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is True
    found = {finding["name"]: finding["found"] for finding in report["findings"]}
    assert set(found) >= NAMES
    assert found["mujoco"] == "3.3.2"
    assert "/" in found["renderer"]
    assert found["machine"] == "cpu: 2 training processes, fp32, no references" or not found[
        "accelerator"
    ].startswith("none")
    if found["accelerator"].startswith("none"):
        assert found["all-reduce"].startswith("correct over 2 processes on the CPU (gloo), ")
    else:
        assert found["all-reduce"].startswith(("right over ", "one GPU, nothing to sum over"))


def test_an_unusable_renderer_is_a_line_and_exit_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MUJOCO_GL", "glx")
    monkeypatch.setattr(checks, "examine_host", lambda: [])
    assert checks.main([]) == 1
    printed = capsys.readouterr()
    assert "Traceback" not in printed.out + printed.err
    missing = [line for line in printed.out.splitlines() if line.startswith("MISSING")]
    assert any("renderer" in line for line in missing)
    assert "-> MUJOCO_GL=glx is not an offscreen renderer" in printed.out


def test_a_version_other_than_the_locked_one_is_named(tmp_path: Path) -> None:
    lock = (ROOT / "uv.lock").read_text()
    assert 'name = "scipy"\nversion = "' in lock
    (tmp_path / "uv.lock").write_text(
        lock.replace('name = "scipy"\nversion = "', 'name = "scipy"\nversion = "9')
    )
    finding = by_name(checks.diagnose(tmp_path))["packages"]
    assert not finding.ok
    assert "scipy" in finding.found
    assert finding.fix == "make setup"


def test_the_vendors_torch_may_differ_from_the_lock(tmp_path: Path) -> None:
    lock = (ROOT / "uv.lock").read_text()
    assert 'name = "torch"\nversion = "' in lock
    (tmp_path / "uv.lock").write_text(
        lock.replace('name = "torch"\nversion = "', 'name = "torch"\nversion = "9')
    )
    assert by_name(checks.diagnose(tmp_path))["packages"].ok


def test_a_missing_lock_is_a_finding(tmp_path: Path) -> None:
    finding = by_name(checks.diagnose(tmp_path))["packages"]
    assert not finding.ok
    assert "FileNotFoundError" in finding.found


def test_a_full_disk_and_little_memory_are_findings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10 * 2**20))
    monkeypatch.setattr(hardware, "memory_bytes", lambda: 4 * 2**30)
    findings = by_name(checks.diagnose(tmp_path))
    for name, folder in (("results disk", "results/"), ("cache disk", "cache/")):
        assert not findings[name].ok
        assert folder in findings[name].fix
    assert not findings["memory"].ok
    assert "8 GB" in findings["memory"].fix


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_results_folder_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results").chmod(stat.S_IRUSR | stat.S_IXUSR)
    finding = by_name(checks.diagnose(tmp_path))["results disk"]
    assert not finding.ok
    assert "writable" in finding.found


def test_a_broken_torch_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "torch_build", hardware.torch_build.__wrapped__)
    monkeypatch.setattr(hardware, "_PRINT_TORCH", "raise ImportError('libtorch.so: cannot open')")
    finding = by_name(checks.diagnose())["torch"]
    assert not finding.ok
    assert "libtorch.so: cannot open" in finding.found
    assert "delete" not in finding.fix


def test_a_slow_first_import_of_torch_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a cold network disk; 60 seconds ended in a traceback."""
    hardware.torch_build.cache_clear()
    monkeypatch.setattr(hardware, "SAY_SECONDS", 0.2)
    slow = """import time; time.sleep(1); print('{"version": "2", "devices": []}')"""
    monkeypatch.setattr(hardware, "_PRINT_TORCH", slow)
    try:
        assert hardware.torch_build() == {"version": "2", "devices": []}
    finally:
        hardware.torch_build.cache_clear()
    assert "waiting for torch" in capsys.readouterr().err


def test_a_driver_that_torch_does_not_use_is_told_but_no_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        hardware,
        "torch_build",
        lambda: {"version": "2.11.0", "cuda": None, "hip": None, "devices": []},
    )
    monkeypatch.setattr(hardware, "driver_version", lambda: "6.14.14")
    finding = by_name(checks.diagnose())["accelerator"]
    assert finding.ok
    assert "6.14.14" in finding.found
    assert finding.fix


def test_a_gpu_that_no_machine_names_trains_as_the_generic_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checks, "detect_machine", lambda: "rocm")
    finding = by_name(checks.diagnose())["machine"]
    assert finding.ok
    assert finding.found == "rocm: 1 training process, bf16, no references"
    assert "like rocm.toml" in finding.fix


def test_a_gpu_is_named_with_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    device = {"name": "AMD Instinct MI300X", "memory_bytes": 192 * 2**30}
    monkeypatch.setattr(
        hardware,
        "torch_build",
        lambda: {"version": "2.10.0", "cuda": None, "hip": "7.2", "devices": [device]},
    )
    findings = by_name(checks.diagnose())
    assert findings["torch"].found == "2.10.0, built for ROCm 7.2"
    assert "AMD Instinct MI300X (192 GiB)" in findings["accelerator"].found


def test_advice_and_what_does_not_apply_are_told_apart_and_are_no_faults(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    advice = checks.Finding(
        "CPU governor", "powersave on 2 cores", fix="turn it", recommended="performance"
    )
    nothing = checks.Finding("NUMA balance", "1 memory node", applicable=False)
    monkeypatch.setattr(checks, "diagnose", lambda: [])
    monkeypatch.setattr(checks, "examine_host", lambda: [advice, nothing])
    assert checks.main([]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "advice  CPU governor  powersave on 2 cores (recommended: performance)",
        "                      -> turn it",
        "n/a     NUMA balance  not applicable here: 1 memory node",
    ]


def test_bad_usage_is_one_line_and_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        checks.main(["--jsno"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "wmbench doctor: error: unrecognized arguments: --jsno\n"
