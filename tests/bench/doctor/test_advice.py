"""Host checks on machines played from files below a folder and from vendors' answers; the sum is
done for real, on the CPU."""

import sys
from pathlib import Path

import pytest
from fake_host import Amdsmi, Nvml, answers, modules, put

from bench.doctor import advice, all_reduce

BALANCING = "proc/sys/kernel/numa_balancing"
HUGEPAGES = "sys/kernel/mm/transparent_hugepage/enabled"
ROCM_SMI = '{"card0": {"Performance Level": "auto"}, "card1": {"Performance Level": "manual"}}'


def nodes(number: int) -> dict[str, str]:
    return {f"sys/devices/system/node/node{node}/cpulist": "0-7" for node in range(number)}


@pytest.mark.parametrize(("text", "label"), [("0", "ok"), ("1", "advice"), ("2", "advice")])
def test_numa_balancing_should_be_off(tmp_path: Path, text: str, label: str) -> None:
    found = advice.numa_balancing(put(tmp_path, {BALANCING: text, **nodes(2)}))
    assert (found.label, found.ok, found.recommended) == (label, True, "off")
    assert found.fix == ("" if text == "0" else "sudo sysctl kernel.numa_balancing=0")


def test_numa_balancing_does_not_apply_to_one_node_or_a_kernel_without(tmp_path: Path) -> None:
    assert advice.numa_balancing(put(tmp_path / "one", {BALANCING: "1", **nodes(1)})).label == "n/a"
    assert advice.numa_balancing(put(tmp_path / "without", nodes(2))).label == "n/a"


def test_every_core_should_run_at_full_clock(tmp_path: Path) -> None:
    cores = {
        f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor": "performance"
        for core in range(11)
    }
    assert advice.governor(put(tmp_path, cores)).label == "ok"
    put(tmp_path, {"sys/devices/system/cpu/cpu10/cpufreq/scaling_governor": "powersave"})
    found = advice.governor(tmp_path)
    assert (found.label, found.found) == ("advice", "performance on 10 cores, powersave on 1 cores")
    assert advice.governor(tmp_path / "virtual").label == "n/a"


@pytest.mark.parametrize(
    ("text", "found", "label"),
    [
        ("[always] madvise never", "always", "ok"),
        ("always [madvise] never", "madvise", "ok"),
        ("always madvise [never]", "never", "advice"),
    ],
)
def test_hugepages(tmp_path: Path, text: str, found: str, label: str) -> None:
    finding = advice.hugepages(put(tmp_path, {HUGEPAGES: text}))
    assert (finding.found, finding.label) == (found, label)
    assert (f"/{HUGEPAGES}" in finding.fix) == (label == "advice")


def test_iommu_is_asked_of_amd_only(tmp_path: Path) -> None:
    put(tmp_path, {"proc/cmdline": "quiet iommu=off"})
    assert advice.iommu("cuda", tmp_path).label == "n/a"
    assert advice.iommu("rocm", tmp_path).label == "advice"
    assert advice.iommu("rocm", put(tmp_path, {"proc/cmdline": "quiet iommu=pt"})).label == "ok"


@pytest.mark.parametrize(
    ("nvml", "label", "words"),
    [
        (Nvml(persistence=[1, 1], reasons=[0, 4]), "ok", "2 GPUs, persistence on, none slowed"),
        (Nvml(persistence=[0], reasons=[0]), "advice", "persistence off on GPU 0"),
        (Nvml(persistence=[1, 1], reasons=[32, 8]), "advice", "slowed down: GPU 0, 1"),
        (Nvml(broken="nvmlInit"), "n/a", "not reported: NVML: Not Supported"),
        (
            Nvml(persistence=[1], reasons=[0], broken="nvmlDeviceGetCurrentClocksEventReasons"),
            "n/a",
            "not reported: NVML: Not Supported",
        ),
    ],
)
def test_nvidia_clocks(nvml: Nvml, label: str, words: str) -> None:
    found = advice.gpu_clocks("cuda", modules(pynvml=nvml))
    assert found.label == label
    assert words in found.found


@pytest.mark.parametrize(
    ("load", "call", "label", "words"),
    [
        (modules(amdsmi=Amdsmi(levels=["AUTO", "MANUAL"])), answers(), "advice", "auto on 1 GPUs"),
        (
            modules(amdsmi=Amdsmi(levels=["AUTO", "DETERMINISM"])),
            answers(),
            "ok",
            "auto on 1 GPUs, determinism on 1 GPUs",
        ),
        (modules(), answers(rocm_smi=ROCM_SMI), "advice", "auto on 1 GPUs, manual on 1 GPUs"),
        (modules(), answers(rocm_smi="{}"), "n/a", "rocm-smi reported no performance level"),
        (modules(), answers(rocm_smi="WARNING: no card"), "n/a", "not reported"),
        (modules(), answers(), "n/a", "No module named 'amdsmi'; no rocm-smi here"),
    ],
)
def test_amd_clocks(load: advice.Load, call: advice.Call, label: str, words: str) -> None:
    found = advice.gpu_clocks("rocm", load, call)
    assert found.label == label
    assert words in found.found


def test_without_a_gpu_nothing_is_asked() -> None:
    assert advice.gpu_clocks("cpu", modules(), answers(rocm_smi=RuntimeError("called"))).ok


def test_a_program_is_called_for_real() -> None:
    assert advice.call([sys.executable, "-c", "print('here')"]) == "here\n"
    assert advice.call(["no-such-program"]) is None
    with pytest.raises(RuntimeError, match=r"^what is wrong$"):
        advice.call([sys.executable, "-c", "raise SystemExit('what is wrong')"])


def test_a_process_that_ends_is_a_fault_that_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That two processes add up is seen by `test_checks.test_this_machine_has_what_a_run_needs`."""
    (tmp_path / "python").write_text("#!/bin/sh\necho first >&2\necho no GPU $5 >&2\nexit 1\n")
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr(all_reduce.sys, "executable", str(tmp_path / "python"))
    found = all_reduce.all_reduce(2)
    assert (found.label, found.found) == ("MISSING", "over 2 GPUs: no GPU 2")
    assert "NCCL_DEBUG" in found.fix


def test_a_process_without_its_gpu_ends(tmp_path: Path) -> None:
    if (torch := pytest.importorskip("torch")).cuda.is_available():
        pytest.skip(f"{torch.cuda.device_count()} GPUs are here")
    with pytest.raises((RuntimeError, AssertionError)):
        all_reduce.take_part("cuda", 0, 2, str(tmp_path / "rendezvous"))


def test_one_gpu_has_nothing_to_sum_over() -> None:
    assert all_reduce.all_reduce(1).label == "n/a"
